// A page that is not there was asked for in any folder: find the one where the site begins, the nearest above
// that has at_work.html, and let all addresses of this page begin there.

{
  function folders() {
    const parts = location.pathname.split("/").slice(0, -1);
    return parts.map((_, end) => `${parts.slice(0, parts.length - end).join("/")}/`);
  }

  const isRoot = async (folder) => (await fetch(`${folder}at_work.html`, { method: "HEAD" })).ok;

  function begin(folder) {
    const base = document.head.appendChild(document.createElement("base"));
    base.href = new URL(folder, location.origin);
    document.querySelector(".skip").href = `${location.pathname}#main`; // which stays here
    document.body.append(Object.assign(document.createElement("script"), { src: "assets/search.js" }));
  }

  async function search() {
    for (const folder of folders()) if (await isRoot(folder)) return begin(folder);
  }

  if (location.protocol !== "file:") search();
}
