"""Reads prospects with requests: requests_get.py BASE_URL ID…"""
import sys

import requests

API_KEY = "syndication-prospect-TEST-KEY"

base_url, *ids = sys.argv[1:]
with requests.Session() as session:
    for prospect_id in ids:
        res = session.get(
            f"{base_url}/prospect/{prospect_id}",
            headers={"Content-Type": "application/json", "x-api-key": API_KEY},
            timeout=10,
        )
        resp = res.json()
        if res.status_code == 200:
            print(res.status_code, resp["prospectId"], str(resp["smsConsent"]).lower(), str("age" in res.headers).lower())
        else:
            print(res.status_code, resp["errorMessage"])
