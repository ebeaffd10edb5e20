# SPDX-License-Identifier: MIT
"""The JSON of convert-bootstrap, judged by the schemas that are installed with it."""
import functools
import json

import jsonschema

import lab as L


@functools.cache
def validator(name, room):
    schema = json.loads((L.ROOT / room / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def validated(name, output, room="bootstrap-helper"):
    """The parsed output, after the schema of that name has agreed to it."""
    value = json.loads(output)
    validator(name, room).validate(value)
    return value
