# SPDX-License-Identifier: MIT
"""The JSON of convert-bootstrap, judged by the schemas that are installed with it."""
import functools
import json

import jsonschema

import lab as L


@functools.cache
def validator(name):
    (file,) = (f for room in ("common", "bootstrap-helper/*") for f in L.ROOT.glob(f"{room}/{name}.schema.json"))
    schema = json.loads(file.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def validated(name, output):
    """The parsed output, after the schema of that name has agreed to it."""
    value = json.loads(output)
    validator(name).validate(value)
    return value
