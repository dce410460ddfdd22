// Search headings and sentences of all pages, offline: library and index are scripts, loaded when first asked for.

{
  const MOST = 20;
  const here = document.currentScript.src;
  const find = document.getElementById("find");
  const panel = document.getElementById("found");
  const [told, list] = [panel.querySelector("p"), panel.querySelector("ol")];
  let index; // a promise

  const load = (name) => new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: new URL(name, here), onload: done, onerror: failed });
    document.head.append(script);
  });

  // Two letters of a word are enough to find it; a longer word may have a slip in it.
  async function build() {
    await Promise.all([load("minisearch/minisearch.js"), load("search_places.js")]);
    const found = new MiniSearch({
      fields: ["section", "title", "text"],
      extractField: (place, field) => (field === "text" ? place.sentences.join(" ") : place[field]),
      searchOptions: {
        boost: { section: 4, title: 2 },
        combineWith: "AND",
        prefix: true,
        fuzzy: (term) => (term.length > 4 ? 0.2 : false),
      },
    });
    found.addAll(window.searchPlaces);
    return found;
  }

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // A sentence in which the words stand out that were found.
  function marked(sentence, words) {
    const parts = sentence.split(/([\p{L}\p{N}]+)/u); // every second one is a word
    return parts.map((part, number) => (number % 2 && words.has(part.toLowerCase()) ? make("mark", {}, part) : part));
  }

  const wordsIn = (sentence) => new Set(sentence.toLowerCase().match(/[\p{L}\p{N}]+/gu));

  // Of a section, the sentence that has most of what was asked.
  function tellingOf({ sentences }, words) {
    const hits = sentences.map((sentence) => [...wordsIn(sentence)].filter((word) => words.has(word)).length);
    const most = Math.max(0, ...hits);
    return most ? sentences[hits.indexOf(most)] : sentences[0] ?? "";
  }

  function entry(result) {
    const place = window.searchPlaces[result.id];
    const words = new Set(result.terms);
    const name = make("b", {}, ...marked(place.section, words));
    const where = make("span", { className: "where" }, place.title === place.section ? "" : place.title);
    const address = `${place.page}${place.anchor && `#${place.anchor}`}`;
    const link = make("a", { href: address }, name, where);
    return make("li", {}, link, make("p", {}, ...marked(tellingOf(place, words), words)));
  }

  async function show() {
    const asked = find.value.trim();
    panel.hidden = !asked;
    if (!asked) return list.replaceChildren();
    const results = (await (index ??= build())).search(asked);
    if (asked !== find.value.trim()) return; // the reader has typed on
    list.replaceChildren(...results.slice(0, MOST).map(entry));
    const places = results.length === 1 ? "1 place" : `${results.length} places`;
    const first = results.length > MOST ? `, the first ${MOST} of them` : "";
    told.textContent = results.length ? `${places} for “${asked}”${first}` : `Nothing found for “${asked}”.`;
  }

  function close() {
    find.value = "";
    show();
  }

  // From the field down the list, and back.
  function walk(event) {
    const stops = [find, ...list.querySelectorAll("a")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  }

  const isTyped = (element) => element.closest("input, textarea, select, [contenteditable], [role=application]");

  find.addEventListener("focus", () => { index ??= build(); });
  find.addEventListener("input", show);
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("a")?.click();
  });
  const root = find.closest("[role=search]");
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return walk(event);
    close();
    find.focus();
  });
  list.addEventListener("click", (event) => event.target.closest("a") && close());
  document.addEventListener("pointerdown", (event) => { panel.hidden ||= !root.contains(event.target); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyped(event.target)) return;
    event.preventDefault();
    find.focus();
    find.select();
  });
  root.hidden = false;
}
