#!/usr/bin/python3
"""Requests made of a node's own OpenAPI document: every operation, valid and invalid, from a seed.

rest_requests.py URL SEED COUNT     COUNT requests to each operation; exits with 1 at the first broken promise

Promises: what the document's schemas allow is not called malformed (EINVAL), what they don't allow is answered with
4xx, nothing with a 5xx but 503 (busy, not there yet) and 507 (full), every answer has a status, a media type and a
form that the document gives, and the node goes on. The same seed makes the same requests, as long as the node answers
alike: start it empty.
"""

import base64
import binascii
import http.client
import json
import random
import re
import string
import sys
import urllib.parse

URL, SEED, COUNT = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(SEED)


class Broken(Exception):
    pass


# ---- JSON Schema, as much of it as the document uses; an unknown word is an error


class Schemas:
    WORDS = {
        "$ref", "type", "allOf", "anyOf", "oneOf", "not", "required", "properties", "additionalProperties", "items", "enum", "const",
        "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "format", "contentEncoding", "description",
    }  # fmt: skip
    TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list, "null": type(None)}

    def __init__(self, document):
        self.document = document

    def look_up(self, reference):
        at = self.document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
        return at

    def is_type(self, value, name):
        if isinstance(value, bool):
            return name == "boolean"
        return isinstance(value, self.TYPES[name]) or (name == "integer" and isinstance(value, float) and value.is_integer())

    def wrong(self, value, schema, at="answer"):
        """The first thing that is wrong, as a text; None when all is well."""
        unknown = set(schema) - self.WORDS
        if unknown:
            raise Broken(f"the document's schemas use {unknown}, which this test does not know")
        if "$ref" in schema:
            return self.wrong(value, self.look_up(schema["$ref"]), at)
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if types and not any(self.is_type(value, t) for t in types):
            return f"{at} is {value!r:.60}, not {types}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{at} is {value!r:.60}, not one of {schema['enum']}"
        if "const" in schema and value != schema["const"]:
            return f"{at} is {value!r:.60}, not {schema['const']!r}"
        for one in schema.get("allOf", []):
            if found := self.wrong(value, one, at):
                return found
        for word, fits in (("anyOf", lambda n: n > 0), ("oneOf", lambda n: n == 1)):
            if word in schema and not fits(sum(self.wrong(value, one, at) is None for one in schema[word])):
                return f"{at} does not fit {word}"
        if "not" in schema and self.wrong(value, schema["not"], at) is None:
            return f"{at} fits what it must not"
        if isinstance(value, str):
            return self.wrong_text(value, schema, at)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.wrong_number(value, schema, at)
        if isinstance(value, dict):
            return self.wrong_object(value, schema, at)
        if isinstance(value, list) and "items" in schema:
            return next(filter(None, (self.wrong(v, schema["items"], f"{at}[{i}]") for i, v in enumerate(value))), None)
        return None

    @staticmethod
    def wrong_text(value, schema, at):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 62):
            return f"{at} has {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
            return f"{at} is {value!r:.60}, which does not match {schema['pattern']}"
        if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
            return f"{at} is {value!r}, no time"
        if schema.get("contentEncoding") == "base64":
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                return f"{at} is no base64"
        return None

    @staticmethod
    def wrong_number(value, schema, at):
        if not schema.get("minimum", -1e400) <= value <= schema.get("maximum", 1e400):
            return f"{at} is {value}"
        if "multipleOf" in schema and value % schema["multipleOf"]:
            return f"{at} is {value}, no multiple of {schema['multipleOf']}"
        return None

    def wrong_object(self, value, schema, at):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                return f"{at} has no {name}"
        for name, inner in value.items():
            if name in properties:
                if found := self.wrong(inner, properties[name], f"{at}.{name}"):
                    return found
            elif schema.get("additionalProperties") is False:
                return f"{at} has an unknown member {name}"
        return None


# ---- values: of a schema, and of none

NAMES = [f"p{i}" for i in range(6)]
KNOWN = ["default", *NAMES, *(f"{name}@s{i}" for name in NAMES[:3] for i in range(2)), *map(str, range(1, 12))]
NASTY_TEXT = ["", " ", "..", "a/b", "a\x00b", "\ud83d\ude00", "é" * 40, "x" * 64, "x" * 128, "x" * 5000, "@", "a@b@c", "-a", "%s%n", "' OR 1=1", "null"]
NASTY_NUMBER = [-1, 0, 1, 4095, 4097, 2**31, 2**32, 2**48 + 4096, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 10**30, -(10**30), 0.5, 1e300, 1e999]


def some_name():
    return draw.choice(NAMES) if draw.random() < 0.8 else "".join(draw.choices(string.ascii_letters + "0123456789._-", k=draw.randint(1, 63)))


def fitting(schema, name):
    """A value that the schema allows."""
    types = schema.get("type", "object")
    if "const" in schema:
        return schema["const"]
    if isinstance(types, list):
        if "null" in types and draw.random() < 0.3:
            return None
        types = types[0]
    if types == "boolean":
        return draw.random() < 0.5
    if types == "integer":
        low, high, step = schema.get("minimum", 0), schema.get("maximum", 2**64 - 1), schema.get("multipleOf", 1)
        near = min(high, low + draw.choice([1, 16, 4096, 1 << 20, 1 << 30]) * step)
        value = draw.choice([low, high, draw.randint(low, near), draw.randint(low, near)])
        return value // step * step
    if schema.get("contentEncoding") == "base64":
        return base64.b64encode(draw.randbytes(draw.choice([1, 3, 512, 4096, 5000]))).decode()
    if name in ("id", "sid"):
        return draw.choice(KNOWN)
    pattern = schema.get("pattern", "")
    if alternatives := re.fullmatch(r"\^(-\?)?\(([a-z_|]+)\)\$", pattern):
        return draw.choice(["", "-"] if alternatives[1] else [""]) + draw.choice(alternatives[2].split("|"))
    if "A-Z" in pattern:
        text = some_name()
        while len(text) > schema.get("maxLength", 127) or not re.search(pattern, text):
            text = some_name()
        return text
    return "".join(draw.choices(string.ascii_letters + string.digits, k=draw.randint(max(1, schema.get("minLength", 1)), 12)))


def nasty():
    return draw.choice([
        None, True, [], {}, [1, 2], {"a": {"b": 1}}, draw.choice(NASTY_NUMBER), draw.choice(NASTY_NUMBER), draw.choice(NASTY_TEXT), draw.choice(NASTY_TEXT),
        "AAA", "!!!!", "QUJD\n", "QQ==QQ==",
    ])  # fmt: skip


def body_of(schema):
    """Bytes, and whether the schema allows them (None: they are no JSON that it could judge)."""
    properties = schema["properties"]
    value = {}
    for name, inner in properties.items():
        if name in schema.get("required", []) or draw.random() < 0.4:
            value[name] = fitting(inner, name)
    if "oneOf" in schema or "not" in schema:  # one size of the two
        for name in ("size_bytes", "size_gb"):
            value.pop(name, None)
        if "oneOf" in schema or draw.random() < 0.5:
            one = draw.choice(["size_bytes", "size_gb"])
            value[one] = fitting(properties[one], one)
    way = draw.randrange(12)
    if way == 0 and value:
        value.pop(draw.choice(list(value)))
    elif way == 1:
        value[draw.choice(["colour", "", "__proto__", "nameé", "x" * 300])] = nasty()
    elif way in (2, 3, 4):
        value[draw.choice(list(properties))] = nasty()
    elif way == 5:
        value = nasty()
    elif way == 6:
        return broken_text(json.dumps(value)), None
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.1:
        text = "\r\n\t " + text + "  "
    return text.encode("utf-8", "surrogatepass"), value


def broken_text(text):
    """No JSON, or JSON that a reader may refuse: deep, long, twice, cut off, not UTF-8."""
    raw = text.encode()
    return draw.choice([
        raw[: draw.randrange(len(raw) + 1)], raw + b"x", raw + raw, b"[" * 20000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"\xff\xfe" + raw,
        raw.replace(b'"', b'"\xc3', 1), b"{" + b",".join(b'"m%d":1' % i for i in range(5000)) + b"}", b'{"name":"a","name":"b"}', b"NaN", b"{'a': 1}",
        b'{"name":"' + b"x" * 200000 + b'"}', b'{"size_gb":' + b"9" * 5000 + b"}", bytes(draw.randbytes(50)), b'{"name":"\\ud800"}', b"\x00" * 100,
    ])  # fmt: skip


# ---- requests


class Client:
    def __init__(self):
        self.connection = http.client.HTTPConnection(URL.hostname, URL.port, timeout=120)

    def ask(self, method, target, body=None, headers=None):
        """Status, headers, body; of a stream, its beginning."""
        try:
            self.connection.request(method, target, body, headers or {})
            answer = self.connection.getresponse()
            if answer.getheader("Content-Type", "").startswith("text/event-stream"):
                head = answer.read1(4096)
                self.connection.close()
                return answer.status, answer.headers, head
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise Broken(f"no answer: {error!r}")


def parameters_of(schemas, operation, where):
    for parameter in operation["parameters"]:
        parameter = schemas.look_up(parameter["$ref"]) if "$ref" in parameter else parameter
        if parameter["in"] == where:
            yield parameter


def query_of(schemas, operation):
    """Text, and whether the document allows it."""
    pairs, allowed = [], True
    for parameter in parameters_of(schemas, operation, "query"):
        if draw.random() > 0.35:
            continue
        name, schema = parameter["name"], parameter["schema"]
        value = fitting(schema, name) if draw.random() < 0.75 else nasty()
        text = value if isinstance(value, str) else json.dumps(value)
        judged = value
        if schema.get("type") == "string":
            judged = text
        elif isinstance(value, str):
            judged = int(value) if re.fullmatch(r"\d{1,30}", value) else {"true": True, "false": False}.get(value, value)
        if schema.get("type") == "boolean" and text in ("", "0", "1"):  # taken for false and true, as ?force is
            judged = True
        allowed &= schemas.wrong(judged, schema) is None and "\x00" not in text and not isinstance(judged, float)
        pairs.append((name, text))
    way = draw.randrange(20)
    if way == 0:
        pairs.append((draw.choice(["colour", "", "LIMIT", "a[b]"]), "1"))
        allowed = False
    text = urllib.parse.urlencode(pairs, errors="surrogatepass")
    if way == 1:
        text, allowed = text + draw.choice(["%", "&%zz=1", "&a=%0", "&=", "&&&x"]), False
    return text, allowed


class Walk:
    def __init__(self, document):
        self.document, self.schemas, self.client = document, Schemas(document), Client()
        self.counts = {}

    def check_answer(self, operation, status, headers, body):
        responses = operation["responses"]
        promise = responses.get(str(status), responses["default"])
        kind = headers.get("Content-Type", "").split(";")[0]
        if not headers.get("X-Request-Id"):
            raise Broken("no X-Request-Id")
        contents = promise.get("content", {})
        if not contents:
            if body:
                raise Broken(f"status {status} has a body: {body[:200]}")
            return None
        content = contents.get(kind) or contents.get("*/*")
        if content is None:
            raise Broken(f"status {status} came as {kind!r}, promised are {list(contents)}")
        if not kind.endswith("json"):
            return None
        value = json.loads(body)
        if found := self.schemas.wrong(value, content["schema"]):
            raise Broken(f"status {status}: {found}")
        if status >= 400 and (value["status"] != status or not value["detail"]):
            raise Broken(f"a problem without its status or detail: {value}")
        return value

    def request(self, path, method, operation):
        target, allowed = path, True
        for parameter in parameters_of(self.schemas, operation, "path"):
            value = fitting(parameter["schema"], parameter["name"]) if draw.random() < 0.9 else draw.choice(NASTY_TEXT)
            allowed &= self.schemas.wrong(value, parameter["schema"]) is None
            target = target.replace("{%s}" % parameter["name"], urllib.parse.quote(value, safe="", errors="surrogatepass"))
        query, query_allowed = query_of(self.schemas, operation)
        target += "?" + query if query or draw.random() < 0.05 else ""
        allowed &= query_allowed
        headers, body = {}, None
        for parameter in parameters_of(self.schemas, operation, "header"):
            if draw.random() < 0.15:
                headers[parameter["name"]] = draw.choice(['"0123456789abcdef"', "*", "k-%d" % draw.randrange(20), "1", '"', "x" * 300])
                allowed = None if allowed else allowed  # the document says nothing of their form
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]
            body, value = body_of(content["application/json"]["schema"])
            headers["Content-Type"] = "application/json" if draw.random() < 0.97 else draw.choice(["text/plain", "application/xml", "", "application/json; charset=latin1"])
            if value is None or headers["Content-Type"] != "application/json":
                allowed = None if allowed else allowed
            elif self.schemas.wrong(value, content["application/json"]["schema"]) is not None or "surrogate" in repr(value):
                allowed = False
        elif draw.random() < 0.03:
            body, allowed = b"{}", None
        return method.upper(), target, body, headers, allowed

    def one(self, path, method, operation):
        method, target, body, headers, allowed = self.request(path, method, operation)
        shown = f"{method} {target[:300]} {headers} {body[:300] if body else ''}"
        try:
            status, answer_headers, answer = self.client.ask(method, target, body, headers)
            if status == 400 and not answer_headers.get("X-Request-Id"):
                raise Broken("not answered by the API")
            value = self.check_answer(operation, status, answer_headers, answer)
            code = value.get("code") if status >= 400 and value else None
            if status >= 500 and (status, code) not in {(503, "EBUSY"), (503, "EUNAVAILABLE"), (507, "EFULL")}:
                raise Broken(f"{status} {code}: {value}")
            if allowed is False and status < 400:
                raise Broken(f"{status}, though the document does not allow it")
            # A cursor is a text that only the node can read.
            if allowed and code == "EINVAL" and value.get("argument") != "cursor":
                raise Broken(f"the document allows it, and it was refused: {value}")
            self.counts[status] = self.counts.get(status, 0) + 1
        except Broken as broken:
            raise Broken(f"seed {SEED}: {shown}\n  {broken}")

    def run(self):
        operations = [(path, method, operation) for path, methods in self.document["paths"].items() for method, operation in methods.items()]
        # In turns, so that what one makes the next ones find.
        for _ in range(COUNT):
            draw.shuffle(operations)
            for path, method, operation in operations:
                self.one(path, method, operation)
        status, _, body = self.client.ask("GET", "/healthz")
        if (status, body) != (200, b"ok\n"):
            raise Broken(f"the node is not well: {status} {body}")
        print(f"seed {SEED}: {len(operations)} operations, {sum(self.counts.values())} requests;", ", ".join(f"{n} of {s}" for s, n in sorted(self.counts.items())))
        for status in (200, 201, 204, 400, 404):
            if not self.counts.get(status):
                raise Broken(f"no request was answered with {status}: too much was left out")


def main():
    status, _, body = Client().ask("GET", "/openapi.json")
    try:
        if status != 200:
            raise Broken(f"no document: {status}")
        Walk(json.loads(body)).run()
    except Broken as broken:
        sys.exit(f"rest_requests.py: {broken}")


main()
