# SPDX-License-Identifier: MIT
"""The JSON of convert-bootstrap, judged by the schemas that are installed with it."""
import json

import jsonschema

import lab as L


def validated(name, output, room="bootstrap-helper"):
    """The parsed output, after the schema of that name has agreed to it."""
    schema = json.loads((L.ROOT / room / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    value = json.loads(output)
    jsonschema.Draft202012Validator(schema).validate(value)
    return value
