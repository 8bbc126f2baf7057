"use strict";
// The pages can be read without this: it adds the search, the keys, the card of a call and the switches.
(() => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const keep = (key, value) => {
    try {
      if (value === null) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {} // a browser that keeps nothing for files
  };
  const names = window.NAMES || [];

  // ---- search

  const startsWord = (name, at) => {
    const here = name[at], before = name[at - 1];
    if (at === 0 || before === "_" || before === ":") return true;
    return (/[A-Z]/.test(here) && !/[A-Z]/.test(before)) || /[0-9]/.test(here) !== /[0-9]/.test(before);
  };

  // Where the letters of a query are in a name, if each goes on where the last was or begins a word.
  const byWords = (query, name, lower, q, at) => {
    if (q === query.length) return [];
    for (let i = at; i < name.length; i++) {
      if (lower[i] !== query[q] || (i !== at && !startsWord(name, i)) || (q === 0 && i === at && at > 0)) continue;
      const rest = byWords(query, name, lower, q + 1, i + 1);
      if (rest) return [i, ...rest];
    }
    return null;
  };

  const kinds = { function: 0, macro: 1, type: 2, field: 3, constant: 4 };

  // How well a name fits, the less the better, and which of its letters do if they are not together; null: not at all.
  const rank = (query, entry) => {
    const name = entry[0];
    const lower = entry.lower ??= name.toLowerCase();
    const last = kinds[entry[1]] / 10 + name.length / 1000;
    if (lower === query) return [last];
    if (lower.startsWith(query)) return [1 + last];
    const method = lower.lastIndexOf("::") + 2;
    if (method > 1 && lower.startsWith(query, method)) return [(lower.length - method === query.length ? 0.9 : 1.9) + last];
    const places = byWords(query, name, lower, 0, 0);
    if (places) return [(places[0] === 0 ? 2 : 3) + last, places];
    if (lower.includes(query)) return [4 + last];
    // All of its letters, in their order.
    const anywhere = [];
    for (let i = 0; i < lower.length && anywhere.length < query.length; i++) if (lower[i] === query[anywhere.length]) anywhere.push(i);
    return query.length > 3 && anywhere.length === query.length ? [5 + last, anywhere] : null;
  };

  const search = (text, most = 30) => {
    const query = text.trim().toLowerCase();
    if (!query) return [];
    const hits = [];
    for (const entry of names) {
      const hit = rank(query, entry);
      if (hit) hits.push({ entry, score: hit[0], places: hit[1] });
    }
    hits.sort((a, b) => a.score - b.score || (a.entry[0] < b.entry[0] ? -1 : 1));
    return hits.slice(0, most);
  };

  const input = $("find"), found = $("found");
  let chosen = 0, shown = [];
  const close = () => {
    found.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (at) => {
    chosen = Math.max(0, Math.min(shown.length - 1, at));
    [...found.children].forEach((li, i) => li.setAttribute("aria-selected", String(i === chosen)));
    const li = found.children[chosen];
    if (li) {
      li.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", li.id);
    }
  };
  const marked = (name, query, places) => {
    const b = document.createElement("b");
    const from = name.toLowerCase().indexOf(query);
    const fits = (i) => (from >= 0 ? i >= from && i < from + query.length : places?.includes(i));
    for (let i = 0; i < name.length; ) {
      const is = fits(i), piece = is ? document.createElement("u") : document.createTextNode("");
      const start = i;
      while (i < name.length && fits(i) === is) i++;
      piece.textContent = name.slice(start, i);
      b.append(piece);
    }
    return b;
  };
  const show = () => {
    const query = input.value.trim().toLowerCase();
    shown = search(query);
    found.replaceChildren(...shown.map(({ entry: [name, kind, c, rust], places }, i) => {
      const li = document.createElement("li");
      li.id = `found-${i}`;
      li.setAttribute("role", "option");
      const what = document.createElement("i");
      what.textContent = kind === "function" && c && !rust ? "not here" : kind === "function" && !c ? "ours" : kind;
      const where = document.createElement("span");
      where.textContent = [c, rust].filter(Boolean).map((spot) => spot[1]).join("  ·  ");
      li.append(marked(name, query, places), what, where);
      li.addEventListener("pointerdown", (e) => { e.preventDefault(); open(i); });
      return li;
    }));
    if (!shown.length && query) {
      const li = document.createElement("li");
      li.className = "none";
      li.textContent = "No such name";
      found.append(li);
    }
    found.hidden = !query;
    input.setAttribute("aria-expanded", String(!found.hidden));
    choose(0);
  };
  const open = (at) => {
    const hit = shown[at];
    if (!hit) return;
    const [, , c, rust] = hit.entry;
    close();
    input.value = "";
    input.blur();
    location.href = (c || rust)[0];
  };
  input.addEventListener("input", show);
  input.addEventListener("focus", () => input.value && show());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown") choose(chosen + 1);
    else if (e.key === "ArrowUp") choose(chosen - 1);
    else if (e.key === "Enter") open(chosen);
    else if (e.key === "Escape") { close(); input.blur(); }
    else return;
    e.preventDefault();
  });

  // ---- from function to function

  const sections = [...document.querySelectorAll("section.fn")];
  const visible = () => sections.filter((s) => s.offsetParent !== null);
  const barHeight = () => document.querySelector(".bar").getBoundingClientRect().height;
  // The function that is under the bar.
  const current = (of) => {
    const top = barHeight() + 2;
    let low = 0, high = of.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (of[mid].getBoundingClientRect().top <= top) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  };
  let lit = null;
  const light = (section) => {
    lit?.classList.remove("lit");
    section?.classList.add("lit");
    lit = section;
  };
  const anchor = (section) => section.querySelector(".at");
  const go = (section) => {
    if (!section) return;
    anchor(section).scrollIntoView({ block: "start" });
    light(section);
    history.replaceState(null, "", `#${anchor(section).id}`);
  };
  const step = (by) => {
    const of = visible().filter(anchor);
    const at = current(of);
    // At a function's head the next one is meant; within it, back goes to its own head first.
    const inside = at >= 0 && of[at].getBoundingClientRect().top < barHeight() - 4;
    go(of[by > 0 ? at + 1 : inside ? at : at - 1]);
  };
  const toTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) light(target.closest("section.fn"));
  };
  addEventListener("hashchange", toTarget);
  toTarget();

  const marks = [...document.querySelectorAll(".mark")].filter((m) => !m.previousElementSibling?.classList.contains("mark"));
  const toMark = (by) => {
    const middle = innerHeight / 2;
    const tops = marks.map((m) => m.getBoundingClientRect().top - middle);
    const next = by > 0 ? tops.findIndex((t) => t > 4) : tops.findLastIndex((t) => t < -4);
    marks[next]?.scrollIntoView({ block: "center" });
  };
  $("marks")?.addEventListener("click", () => toMark(1));

  // ---- the list of functions

  const list = $("list");
  const outline = () => {
    if (!list) return;
    const ol = list.querySelector("ol");
    if (!ol.children.length) {
      ol.append(...sections.filter(anchor).map((section) => {
        const li = document.createElement("li"), a = document.createElement("a"), small = document.createElement("small");
        li.className = section.className.replace("fn", "").trim();
        a.href = `#${anchor(section).id}`;
        a.textContent = section.querySelector("h2").textContent;
        small.textContent = { absent: "not here", ours: "ours", other: "other file" }[li.className] || "";
        a.append(small);
        li.append(a);
        return li;
      }));
    }
    list.hidden = !list.hidden;
    $("outline").setAttribute("aria-pressed", String(!list.hidden));
    if (list.hidden) return;
    const of = sections.filter(anchor), at = current(of);
    ol.querySelectorAll("[aria-current]").forEach((a) => a.removeAttribute("aria-current"));
    const a = ol.children[at]?.firstChild;
    a?.setAttribute("aria-current", "true");
    a?.scrollIntoView({ block: "center" });
    if (matchMedia("(pointer: fine)").matches) list.querySelector("input").focus({ preventScroll: true });
  };
  $("outline")?.addEventListener("click", outline);
  list?.querySelector("input").addEventListener("input", (e) => {
    const query = e.target.value.toLowerCase();
    for (const li of list.querySelectorAll("li")) li.hidden = !li.textContent.toLowerCase().includes(query);
  });
  list?.addEventListener("click", (e) => { if (e.target.closest("a") && innerWidth < 1400) outline(); });

  // ---- the card of a call: where the function is on either side

  const card = $("card");
  const byHref = new Map();
  const entryOf = (a) => {
    if (!byHref.size) {
      for (const entry of names) for (const spot of [entry[2], entry[3]]) if (spot) byHref.set(spot[0], entry);
    }
    const page = decodeURI(location.pathname.split("/").pop());
    const href = a.getAttribute("href");
    return byHref.get(href.startsWith("#") ? page + href : href);
  };
  const showCard = (a) => {
    const entry = entryOf(a);
    if (!entry) return;
    const b = document.createElement("b");
    b.textContent = entry[0];
    card.replaceChildren(b);
    [[entry[2], "to-c"], [entry[3], "to-rust"]].forEach(([spot, side]) => {
      const line = document.createElement(spot ? "a" : "span");
      line.className = side;
      if (spot) line.href = spot[0];
      line.textContent = spot ? spot[1] : side === "to-c" ? "ours alone" : "not here";
      card.append(line);
    });
    card.hidden = false;
    const box = a.getBoundingClientRect(), width = card.offsetWidth, height = card.offsetHeight;
    const below = box.bottom + 4 + height < innerHeight;
    card.style.left = `${scrollX + Math.max(6, Math.min(box.left, root.clientWidth - width - 8))}px`;
    card.style.top = `${scrollY + (below ? box.bottom + 4 : box.top - height - 4)}px`;
  };
  let wait = 0;
  const main = $("main");
  if (card) {
    const later = (what, time) => { clearTimeout(wait); wait = setTimeout(what, time); };
    const over = (e) => {
      const a = e.target.closest?.("a.f");
      if (a) later(() => showCard(a), e.type === "focusin" ? 0 : 250);
      else if (e.target.closest?.("#card")) clearTimeout(wait);
      else if (!card.hidden) later(() => { card.hidden = true; }, 250);
      else clearTimeout(wait);
    };
    document.addEventListener("pointerover", (e) => { if (e.pointerType !== "touch") over(e); });
    main.addEventListener("focusin", over);
    main.addEventListener("focusout", () => { if (!card.matches(":hover")) card.hidden = true; });
    document.addEventListener("click", () => { card.hidden = true; });
  }

  // ---- switches

  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    keep("theme", root.dataset.theme);
  };
  // What is under the bar stays there, whatever becomes of the text above it.
  const inPlace = (change) => {
    const of = visible(), at = of[current(of)];
    const before = at?.getBoundingClientRect().top;
    change();
    if (at && at.offsetParent !== null) scrollBy(0, at.getBoundingClientRect().top - before);
  };
  const size = (by) => inPlace(() => {
    const now = parseFloat(getComputedStyle(document.querySelector("section") || document.body).fontSize);
    const next = Math.max(9, Math.min(26, Math.round(now) + by));
    root.style.setProperty("--size", `${next}px`);
    keep("size", next);
  });
  const view = () => inPlace(() => {
    const next = { undefined: "c", c: "rust", rust: undefined }[root.dataset.view];
    if (next) root.dataset.view = next;
    else delete root.dataset.view;
    keep("view", next ?? null);
  });
  const help = () => ($("keys").open ? $("keys").close() : $("keys").showModal());
  $("theme").addEventListener("click", theme);
  $("smaller").addEventListener("click", () => size(-1));
  $("larger").addEventListener("click", () => size(1));
  $("help").addEventListener("click", help);
  $("view")?.addEventListener("click", view);

  const keys = {
    "/": () => input.focus(), j: () => step(1), k: () => step(-1), n: () => toMark(1), p: () => toMark(-1), o: outline, d: theme,
    "+": () => size(1), "=": () => size(1), "-": () => size(-1), v: () => $("view") && view(), h: () => { location.href = "index.html"; }, "?": help,
  };
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape" && list && !list.hidden) return outline();
    if (e.target.closest("input, dialog") || !keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  });

  // ---- tables that can be sorted

  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const th = button.closest("th"), body = th.closest("table").tBodies[0], at = th.cellIndex;
      const up = th.getAttribute("aria-sort") === "descending" || (!th.hasAttribute("aria-sort") && at < 2);
      const value = (row) => {
        const cell = row.cells[at], number = parseFloat(cell.dataset.v ?? cell.textContent);
        return at < 2 ? cell.textContent.trim() : Number.isNaN(number) ? -1 : number;
      };
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      });
      th.closest("tr").querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...rows);
    });
  }

  // For the tests.
  window.sidebyside = { search, current: () => sections[current(sections)]?.querySelector("h2")?.textContent };
})();
