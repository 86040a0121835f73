/* Passkeys: a form with data-passkey="new" or "use" asks its data-options what to hand to the authenticator, and sends
   the answer in its field "credential". */
(() => {
  const possible = Boolean(window.PublicKeyCredential?.parseCreationOptionsFromJSON);
  const tell = (form, text) => {
    const place = form.querySelector("[data-passkey-problem]");
    place.hidden = !text;
    place.querySelector("span").textContent = text;
  };
  const options = async (form) => {
    const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
    const answer = await fetch(form.dataset.options, { method: "POST", headers: { "X-CSRFToken": token, Accept: "application/json" } });
    if (!answer.ok || !answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error("options");
    return answer.json();
  };
  const answer = async (form) => {
    const asked = await options(form);
    return form.dataset.passkey === "new"
      ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) })
      : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked) });
  };
  const why = (error) => {
    if (error.name === "NotAllowedError") return "Nothing was done: it was cancelled, or took too long. Try again, or use another way.";
    if (error.name === "InvalidStateError") return "This device has a passkey for your account already.";
    if (error.message === "options") return "The server gave no answer that can be used. Reload the page and try again.";
    return "The passkey could not be used here. Use another way.";
  };
  document.querySelectorAll("form[data-passkey]").forEach((form) => {
    form.addEventListener("submit", async (e) => {
      e.preventDefault();
      tell(form, "");
      if (!possible) { tell(form, "This browser is too old for passkeys. Use another way."); return; }
      const button = form.querySelector("button[type=submit]");
      button.disabled = true;
      try {
        form.elements.credential.value = JSON.stringify((await answer(form)).toJSON());
        HTMLFormElement.prototype.submit.call(form);
      } catch (error) {
        tell(form, why(error));
        button.disabled = false;
      }
    });
  });
})();
