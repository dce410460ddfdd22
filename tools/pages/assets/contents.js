// On a phone the list of sections is folded, or nobody would see the lesson below it.

{
  const narrow = matchMedia("(max-width: 1000px)"); // as in site.css
  const fold = () => { document.querySelector(".contents details").open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
}
