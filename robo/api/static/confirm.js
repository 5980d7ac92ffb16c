"use strict";
// The mailed link carries its token in the fragment, which browsers send to nobody. A person has to
// press the button: programs that open every link in a mail confirm nothing.

const [purpose, token] = location.hash.slice(1).split("=");
const reset = purpose === "reset";
const path = { verify: "/v1/email-verifications/use", reset: "/v1/password-resets/use" }[purpose];
const form = document.getElementById("form");
const outcome = document.getElementById("outcome");
history.replaceState(null, "", location.pathname);

function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(event) {
  event.preventDefault();
  const body = { token };
  if (reset) {
    body.new_password = document.getElementById("password").value;
    const code = document.getElementById("code").value.trim();
    if (code) body.code = code;
  }
  const reply = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key() },
    body: JSON.stringify(body),
  });
  const said = await reply.json();
  form.hidden = reply.ok;
  const wrong = Object.values(said.fields || {}).flat().join(" ");
  outcome.textContent = reply.ok ? "Done." : [said.detail, wrong].join(" ");
}

if (path && token) {
  document.getElementById("title").textContent = reset ? "Reset your password" : "Confirm your e-mail";
  document.getElementById("fields").hidden = !reset;
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    send(event).catch(() => { outcome.textContent = "That did not work; try again."; });
  });
} else {
  outcome.textContent = "This link is not complete.";
}
