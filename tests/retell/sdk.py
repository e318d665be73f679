"""Signs and verifies with Retell's own SDK. Reads a JSON array of cases {body, key, at_ms, header?} from stdin,
signs the cases without a header, and writes {header, valid} for each, with the current result of the SDK's verify.
"""

import importlib.util
import json
import sys

folder = sys.argv[1]
# The SDK's dependencies are in the same folder. Only this file of the SDK is loaded: the rest is an HTTP client.
sys.path.insert(0, folder)
spec = importlib.util.spec_from_file_location("webhook_auth", f"{folder}/retell/lib/webhook_auth.py")
webhook_auth = importlib.util.module_from_spec(spec)
spec.loader.exec_module(webhook_auth)

answers = []
for case in json.load(sys.stdin):
    header = case.get("header")
    if header is None:
        header = webhook_auth.symmetric["sign"](case["body"], case["key"], case["at_ms"])
    answers.append({"header": header, "valid": webhook_auth.verify(case["body"], case["key"], header)})
json.dump(answers, sys.stdout)
