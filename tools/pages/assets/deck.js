// One way through all slides, whichever arrow is pressed; a widget in use keeps its keys to itself.

Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0,
  center: false,
  hash: true,
  navigationMode: "linear",
  slideNumber: "c/t",
  transition: "none",
  keyboardCondition: () => !document.activeElement.closest(".alive"),
  plugins: [RevealNotes],
});
