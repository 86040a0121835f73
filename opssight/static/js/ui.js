/* Enhancement only: every page works without this file. Behaviour hangs on data- attributes. */
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const say = (text) => { const place = document.getElementById("said"); if (place && place.textContent !== text) place.textContent = text; };

  /* Theme: the cookie is the truth and the server sets the same one; this only spares the round trip. */
  const setTheme = (theme) => {
    const pinned = theme === "light" || theme === "dark";
    if (pinned) root.dataset.theme = theme; else delete root.dataset.theme;
    document.body.classList.remove("theme-light", "theme-dark");
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${pinned ? theme : ""}; path=/; samesite=lax; max-age=${pinned ? 31536000 : 0}${secure}`;
    all("[data-set-theme]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.setTheme === theme)));
  };

  /* Times: UTC from the server, rewritten in the zone of whoever reads. */
  const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const two = (n) => String(n).padStart(2, "0");
  const localise = (from) => {
    all("time[datetime]", from).forEach((time) => {
      const at = new Date(time.dateTime), [day, clock] = time.children;
      if (!clock || Number.isNaN(at.valueOf())) return;
      const year = at.getFullYear() === new Date().getFullYear() ? "" : ` ${at.getFullYear()}`;
      const seconds = clock.textContent.length > 5 ? `:${two(at.getSeconds())}` : "";
      day.textContent = `${at.getDate()} ${months[at.getMonth()]}${year}`;
      clock.textContent = `${two(at.getHours())}:${two(at.getMinutes())}${seconds}`;
    });
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone) all("[data-zone]", from).forEach((place) => { place.textContent = zone.replaceAll("_", " "); });
  };

  const prepare = (from) => {
    localise(from);
    all("[data-js]", from).forEach((part) => { part.hidden = false; });
    all("[data-nojs]", from).forEach((part) => { part.hidden = true; });
    /* The admin's date and time fields stand behind a bare word that labels nothing. */
    all("p.datetime input:not([aria-label])", from).forEach((field) => field.setAttribute("aria-label", field.previousSibling?.textContent.trim() || "Date and time"));
    all("a[data-expand]", from).forEach((link) => { if (!link.hasAttribute("aria-expanded")) link.setAttribute("aria-expanded", "false"); });
  };

  /* Where there is no room for a part beside or below the row, its link is an ordinary one. */
  const beside = matchMedia("(min-width: 80.0625rem)"), below = matchMedia("(min-width: 56.0625rem)");
  document.addEventListener("click", (e) => {
    const link = e.target.closest("a[hx-get]");
    if (!link) return;
    const expands = "expand" in link.dataset;
    if (e.ctrlKey || e.metaKey || e.shiftKey || !(expands ? below : beside).matches) { e.stopPropagation(); return; }
    if (link.getAttribute("aria-expanded") === "true") {
      e.preventDefault();
      e.stopPropagation();
      link.setAttribute("aria-expanded", "false");
      const row = link.closest("tr");
      row.classList.remove("sel");
      if (row.nextElementSibling?.classList.contains("exp")) row.nextElementSibling.remove();
    }
  }, true);

  const copy = (button) => {
    const from = document.getElementById(button.dataset.copy), items = all("li", from);
    const text = items.length ? items.map((item) => item.textContent.trim()).join("\n") : from.textContent.replace(/\s+/g, "");
    navigator.clipboard?.writeText(text).then(() => say("Copied"), () => say("Copying was refused. Select the text and copy it."));
    button.querySelector("span").textContent = "Copied";
  };

  const closeMenus = (except) => all("details.pick[open]").filter((menu) => menu !== except).forEach((menu) => { menu.open = false; });

  document.addEventListener("click", (e) => {
    const at = (selector) => e.target.closest(selector);
    const theme = at("[data-set-theme]"), copied = at("[data-copy]");
    if (theme) { e.preventDefault(); setTheme(theme.dataset.setTheme); }
    if (copied) copy(copied);
    if (at("[data-print]")) print();
    closeMenus(at("details.pick"));
  });

  /* Single keys (WCAG 2.1.4): never while typing or with a modifier, and off where this browser's owner wants none. */
  const keys = {
    get on() { try { return localStorage.getItem("keys") !== "off"; } catch { return true; } },
    set on(wanted) { try { if (wanted) localStorage.removeItem("keys"); else localStorage.setItem("keys", "off"); } catch { say("This browser keeps no settings."); } },
    meant: (e) => keys.on && !e.defaultPrevented && !e.isComposing && !e.ctrlKey && !e.metaKey && !e.altKey
      && !document.querySelector("dialog[open]")
      && !e.target.closest("input:not([type=checkbox], [type=radio]), select, textarea"),
  };
  document.addEventListener("keydown", (e) => {
    const menu = document.querySelector("details.pick[open]"), search = document.querySelector("[name=q]");
    if (e.key === "Escape" && menu) { e.preventDefault(); menu.open = false; menu.querySelector("summary").focus(); }
    if (e.key === "/" && search && keys.meant(e)) { e.preventDefault(); search.focus(); }
  });

  /* htmx: what arrives is prepared like the page; a whole page in answer to a part means the session is over. */
  let kept = null; // of the part that is exchanged: which tables were open, how far each was scrolled, what had focus
  document.addEventListener("htmx:load", (e) => {
    const part = e.detail.elt;
    if (part === document.body) return;
    prepare(part);
    if (kept && part.id === kept.id) {
      kept.open.forEach((id) => { const table = document.getElementById(id); if (table) table.open = true; });
      if (document.activeElement === document.body && kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
      all(".scroll", part).forEach((region, n) => { region.scrollLeft = kept.at[n] ?? 0; });
    }
    if (part.dataset.say) say(part.dataset.say);
  });
  document.addEventListener("htmx:beforeRequest", (e) => {
    if (document.hidden && e.detail.elt.getAttribute("hx-trigger")?.startsWith("every")) e.preventDefault();
  });
  document.addEventListener("htmx:configRequest", (e) => { // nobody need sit there, so it keeps no session from running out
    if (e.detail.elt.getAttribute("hx-trigger")?.startsWith("every")) e.detail.headers["X-Background"] = "1";
  });
  document.addEventListener("htmx:beforeSwap", (e) => {
    const { xhr, requestConfig: { elt } } = e.detail;
    kept = { id: e.detail.target.id, focus: document.activeElement?.id, open: all("details[open][id]", e.detail.target).map((d) => d.id), at: all(".scroll", e.detail.target).map((s) => s.scrollLeft) };
    if (!/^\s*<!doctype/i.test(xhr.responseText) && (xhr.status < 400 || elt.matches("form"))) {
      e.detail.isError = false;
      e.detail.shouldSwap = true; // a form's refusal is a part like any other
      return;
    }
    e.detail.shouldSwap = false;
    kept = null;
    if (elt.href) location.assign(elt.href);
    else if (xhr.status < 400) location.reload();
    else if (elt.matches("form")) say(new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector("main")?.textContent.trim() ?? "It was refused.");
  });
  const lost = (e) => all("[data-lost]", e.detail.elt).forEach((part) => { part.hidden = false; });
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:responseError", lost);
  document.addEventListener("htmx:afterRequest", (e) => {
    const { elt, successful } = e.detail;
    if (!successful || !elt.matches?.("a[hx-get]")) return;
    if ("expand" in elt.dataset) { elt.setAttribute("aria-expanded", "true"); elt.closest("tr").classList.add("sel"); }
  });

  window.opssight = { all, say, beside, keys }; // for scripts of single pages
  prepare(document);
})();
