// The sample of Knock's article "Knock Get Prospect API", with another base URL: node fetch.mjs BASE_URL ID…
const API_KEY = "syndication-prospect-TEST-KEY";
const [baseURL, ...ids] = process.argv.slice(2);

const getInternalProspect = async (prospectId) => {
  const endpoint = `${baseURL}/prospect/${prospectId}`;
  const res = await fetch(endpoint, {
    headers: {
      "Content-Type": "application/json",
      "x-api-key": API_KEY
    },
    method: "GET"
  });

  const resp = await res.json();

  if (res.status === 200) {
    console.log(res.status, resp.prospectId, resp.smsConsent, res.headers.has("age"));
  } else {
    console.log(res.status, resp.errorMessage);
  }
};

for (const id of ids) {
  await getInternalProspect(id);
}
