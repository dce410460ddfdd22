// Light or dark: as the system says, until the reader chooses. A choice with which the system agrees is
// forgotten, and the page follows the system again. Runs in the head, so that no page flashes white.

{
  const KEY = "vit-steps-theme";
  const DARK = "(prefers-color-scheme: dark)";
  const system = matchMedia(DARK);
  const root = document.documentElement;
  let chosen = remember();

  // A browser may forbid it; then the choice holds for this page.
  function remember() {
    try {
      return localStorage.getItem(KEY) ?? undefined;
    } catch {
      return undefined;
    }
  }

  function keep() {
    try {
      if (chosen) localStorage.setItem(KEY, chosen);
      else localStorage.removeItem(KEY);
    } catch {
      // nothing is kept
    }
  }

  const isDark = () => (chosen ?? (system.matches ? "dark" : "light")) === "dark";

  function dress() {
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    const sheet = document.getElementById("dark"); // of a page whose colours are not light-dark()
    if (sheet) sheet.media = chosen ? (isDark() ? "screen" : "not all") : DARK;
    document.getElementById("theme")?.setAttribute("aria-pressed", isDark());
    document.dispatchEvent(new Event("recolour"));
  }

  function turn() {
    const wanted = isDark() ? "light" : "dark";
    chosen = wanted === (system.matches ? "dark" : "light") ? undefined : wanted;
    keep();
    dress();
  }

  dress();
  system.addEventListener("change", dress);
  window.addEventListener("storage", () => {
    chosen = remember();
    dress();
  });
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button?.addEventListener("click", turn);
    if (button) button.hidden = false;
    dress();
  });
}
