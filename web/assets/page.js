// What the page is better with: passwords that can be looked at, a test that
// shows its steps as they happen, a server that is filled in, progress that
// moves. Without it every form works by itself.
"use strict";

const stepsType = "application/x-ndjson";
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function showPasswords() {
  for (const button of all("[data-reveal]")) {
    const input = document.getElementById(button.dataset.reveal);
    const name = button.getAttribute("aria-label").replace(/^Show /, "");
    button.hidden = false;
    button.addEventListener("click", () => {
      const show = input.type === "password";
      input.type = show ? "text" : "password";
      button.textContent = show ? "Hide" : "Show";
      button.setAttribute("aria-label", (show ? "Hide " : "Show ") + name);
      button.setAttribute("aria-pressed", String(show));
    });
  }
}

// Only the fields of the chosen way to log in are shown.
function chooseAuthentication() {
  const box = one("[data-auth]");
  if (!box) return;
  const show = () => {
    const chosen = one("input[name=auth]:checked", box)?.value;
    for (const part of all("[data-when]", box)) part.hidden = part.dataset.when !== chosen;
    const account = one("[data-flow]", box);
    account.hidden = one("#oauth-flow", box).value !== account.dataset.flow;
    if (one("#oauth-preset", box).value === "custom") one("[data-custom]", box).open = true;
  };
  box.addEventListener("change", show);
  show();
  const start = one("#start"), since = one("#start-since");
  const showSince = () => { since.hidden = start.value !== "since"; };
  start.addEventListener("change", showSince);
  showSince();
}

function fillIn(form, preset) {
  const set = (name, value) => { const field = form.elements[name]; if (field && value) field.value = value; };
  set("host", preset.host);
  set("port", String(preset.port));
  set("tls", preset.tls);
  if (preset.auth) set("auth", preset.auth);
  if (!form.elements["oauth-preset"].value) set("oauth-preset", preset.oauthPreset);
  if (!form.elements.username.value) set("username", form.elements.mailbox.value.trim());
  one("[data-auth]").dispatchEvent(new Event("change"));
}

function lookUp() {
  const button = one("[data-lookup]");
  if (!button) return;
  const form = button.form, found = one("#found");
  const look = async () => {
    const query = new URLSearchParams({ mailbox: form.elements.mailbox.value.trim(), preset: form.elements.preset.value });
    found.textContent = "Looking…";
    let presets = [];
    try {
      presets = await (await fetch("/presets?" + query)).json();
    } catch {
      found.textContent = "The look-up failed: fill the server in by hand.";
      return;
    }
    found.textContent = "";
    if (presets.length === 0) {
      found.textContent = "Give the mailbox first.";
    } else if (!presets[0].guess) {
      fillIn(form, presets[0]);
      found.textContent = "Filled in from " + presets[0].name + ". " + (presets[0].note || "");
    } else {
      found.append("Nobody says where this domain's mail is. Guesses, to be tested: ");
      for (const preset of presets) {
        const guess = document.createElement("button");
        guess.type = "button";
        guess.className = "button small";
        guess.textContent = preset.host;
        guess.addEventListener("click", () => fillIn(form, preset));
        found.append(guess, " ");
      }
    }
  };
  button.addEventListener("click", (event) => { event.preventDefault(); look(); });
  // A mailbox that is typed into an empty form says where it lives.
  form.elements.mailbox.addEventListener("change", () => { if (!form.elements.host.value) look(); });
}

// An error is gone when its field is changed: the next answer says what is left.
function forgetErrors(root) {
  for (const field of all(".wrong", root)) {
    field.classList.remove("wrong");
    for (const text of all(".problem", field)) text.remove();
    for (const input of all("[aria-invalid]", field)) input.removeAttribute("aria-invalid");
  }
}

function watchErrors() {
  const form = one("form.sheet[data-form]");
  form?.addEventListener("input", (event) => {
    const field = event.target.closest(".wrong");
    if (field) forgetErrors(field.parentElement);
  });
}

// lines calls take for each line of an answer, as it comes.
async function lines(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value || "")).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) take(JSON.parse(part));
    if (done) return;
  }
}

function testConnection() {
  const button = one("[data-test]");
  if (!button) return;
  const form = button.form, place = one("#test");
  let native = false;
  button.addEventListener("click", async (event) => {
    if (native) return;
    event.preventDefault();
    button.disabled = true;
    place.innerHTML = "<p class='dim'>Testing…</p><ol class='steps'></ol>";
    try {
      const response = await fetch(button.getAttribute("formaction") || form.action, {
        method: "POST", body: new FormData(form), headers: { Accept: stepsType },
      });
      if (response.headers.get("Content-Type") !== stepsType) {
        // Something is wrong with the form itself: the page says what.
        button.disabled = false;
        native = true;
        button.click();
        return;
      }
      forgetErrors(form); // the settings are fine, or no test would have begun
      one("[data-focus]")?.remove();
      // The server has escaped what it sends.
      await lines(response, ({ kind, html }) => {
        if (kind === "step") one("ol", place).insertAdjacentHTML("beforeend", html);
        if (kind === "folders") one("#folder").outerHTML = html;
        if (kind === "end") { one(".dim", place).remove(); place.insertAdjacentHTML("beforeend", html); }
      });
    } catch {
      place.insertAdjacentHTML("beforeend", "<p class='note bad'>The test broke off. Try again.</p>");
    }
    button.disabled = false;
  });
}

function followTasks() {
  const place = one("[data-tasks]");
  if (!place || !one("[data-running]", place)) return;
  let last = "";
  const next = async () => {
    try {
      const response = await fetch(place.dataset.tasks);
      if (response.ok) {
        const html = await response.text();
        if (html !== last) place.innerHTML = last = html; // what has not changed is not read out again
        if (!one("[data-running]", place)) { location.replace(location.pathname); return; }
      }
    } catch { /* the server is away for a moment */ }
    setTimeout(next, 700);
  };
  setTimeout(next, 400);
}

showPasswords();
chooseAuthentication();
lookUp();
watchErrors();
testConnection();
followTasks();
one("[data-focus]")?.focus();
if (one("[data-go]")) setTimeout(() => one("[data-go]").click(), 1200);
