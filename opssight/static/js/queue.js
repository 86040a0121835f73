/* The findings queue as a desk: moving, the panel beside it, deciding there, and its keys. Needs ui.js and htmx. */
(() => {
  const { all, say, beside, keys } = window.opssight;
  const find = (selector, from = document) => from.querySelector(selector);
  const panel = () => document.getElementById("panel");
  const queue = () => all(".queue tbody tr");
  const current = () => find(".queue tr.sel");
  const rowOf = (part) => document.getElementById(`row-${part.dataset.finding}`);

  const select = (row) => queue().forEach((other) => {
    other.classList.toggle("sel", other === row);
    if (other === row) other.setAttribute("aria-current", "true"); else other.removeAttribute("aria-current");
  });
  const step = (by) => {
    const rows = queue(), next = rows[Math.max(0, Math.min(rows.length - 1, rows.indexOf(current()) + by))];
    if (!next) return;
    select(next);
    find("a", next).focus();
    if (panel() && !panel().hidden && beside.matches) find("a", next).click();
  };
  const closePanel = () => {
    const here = new URL(location);
    if (!panel() || panel().hidden) return false;
    panel().hidden = true;
    here.searchParams.delete("open");
    history.replaceState(history.state, "", here);
    find(".queue tr.sel a")?.focus();
    return true;
  };

  /* What is done to the current finding waits until the panel shows that one: keys are faster than answers. */
  let waits = null, ready = panel(); // the panel that htmx is done with
  const onCurrent = (act) => {
    const shown = panel(), row = current() ?? queue()[0], fits = !shown.hidden && (!current() || current() === rowOf(shown));
    waits = act;
    if (fits && shown === ready) { waits = null; act(shown); return; }
    if (!row || fits || find("a", row).classList.contains("htmx-request")) return; // it is on its way
    find("a", row).click();
  };

  let wanted = ""; // the state that the form is to begin with
  const begin = (form) => {
    const { status, reason } = form.elements, wrong = find("[aria-invalid=true]", form);
    const known = [...status.options].some((option) => option.value === wanted);
    if (known) status.value = wanted;
    else if (wanted) say("It can't be that from the state it is in.");
    const noReason = wanted === "triaged";
    (wrong ?? (!known ? status : noReason ? find("[type=submit]", form) : reason)).focus();
    wanted = "";
  };
  const decide = (status) => onCurrent((shown) => {
    const form = find("#decide form", shown), link = find("[data-decide]", shown);
    wanted = status;
    if (form) begin(form);
    else if (link) link.click();
    else say("You may not decide about this finding.");
  });
  const undecide = () => {
    const form = find("#decide form");
    if (!form) return false;
    form.remove();
    find("[data-decide]").focus();
    return true;
  };
  const comment = () => onCurrent((shown) => {
    const field = find("textarea[name=text]", shown);
    if (field) field.focus(); else say("You may not comment on this finding.");
  });
  const tick = () => find("input[name=finding]", current() ?? document.createElement("tr"))?.click();
  const help = () => {
    find("[data-keys-on]").checked = keys.on;
    document.getElementById("keys").showModal();
  };

  const DOES = {
    j: () => step(1), k: () => step(-1), x: tick, c: comment, "?": help,
    d: () => decide(""), t: () => decide("triaged"), f: () => decide("false_positive"), a: () => decide("accepted"),
  };
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && !e.defaultPrevented && !find("dialog[open]")) { if (undecide() || closePanel()) e.preventDefault(); return; }
    if (!Object.hasOwn(DOES, e.key) || !panel() || !keys.meant(e)) return;
    e.preventDefault(); // the letter would land in the field that gets focus
    DOES[e.key]();
  });
  document.addEventListener("click", (e) => {
    const at = (selector) => e.target.closest(selector), moved = at("[data-step]");
    if (at(".queue a[hx-get]") && beside.matches && !e.ctrlKey && !e.metaKey && !e.shiftKey) select(at("tr"));
    if (moved) { e.preventDefault(); step(Number(moved.dataset.step)); }
    if (at("[data-close]") && closePanel()) e.preventDefault();
    if (at("[data-undecide]")) undecide();
    if (at("[data-keys]")) help();
  });

  /* Boxes: all of the page at once, and how many are ticked. */
  document.addEventListener("change", (e) => {
    const boxes = all(".queue input[name=finding]"), told = find("[data-ticked]");
    if (e.target.matches("[data-keys-on]")) keys.on = e.target.checked;
    if (e.target.matches("[data-tick-all]")) boxes.forEach((box) => { box.checked = e.target.checked; });
    if (!told || !e.target.matches("[data-tick-all], .queue input[name=finding]")) return;
    const ticked = boxes.filter((box) => box.checked).length;
    told.textContent = `${ticked} ticked`;
    told.hidden = false;
    say(told.textContent);
  });

  /* After a decision the server opens the finding that comes next here, and says what became of the row. */
  let before = 0; // rows before a decision; 0 while none is under way
  document.addEventListener("htmx:configRequest", (e) => {
    if (!e.detail.elt.matches("#decide form")) return;
    const next = rowOf(panel())?.nextElementSibling;
    before = queue().length;
    if (next) e.detail.parameters.next = next.id.replace("row-", "");
  });
  document.addEventListener("htmx:load", (e) => {
    const part = e.detail.elt;
    if (part.matches("#decide form")) { before = 0; begin(part); }
    if (part.id !== "panel") return;
    const row = rowOf(part), act = waits, left = queue().length;
    ready = part;
    if (current() !== row && find(".queue tr.sel a.htmx-request")) return; // the reader has moved on: the next one is on its way
    waits = null;
    select(row);
    if (before) {
      (row ? find("a", row) : part).focus();
      if (left < before) find("[data-shown]").textContent = `${left} left on this page`;
      before = 0;
    }
    act?.(part);
  });
  const failed = () => { waits = null; wanted = ""; before = 0; };
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:responseError", failed);
})();
