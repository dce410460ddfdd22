// Elements, numbers and colours: what all parts of the page write and paint with.

const get = (id) => document.getElementById(id);

// An element with attributes and children; what is text stays text.
function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== undefined));
  return element;
}

const number = (value) => value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
const bracket = (value) => (number(value).startsWith("−") ? `(${number(value)})` : number(value));
const percent = (share) => `${(100 * share).toFixed(0)} %`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const strong = (value) => make("b", {}, number(value));
const sup = (text) => make("sup", {}, text);
const clamp = (value, most) => Math.min(Math.max(value, 0), most);
const best = (values) => values.indexOf(Math.max(...values));
const largest = (rows) => Math.max(...rows.flat().filter((value) => !Number.isNaN(value)).map(Math.abs), 1e-9);

const still = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 740px)"); // as in the style sheet

// ---- colours: those of the style sheet, as numbers, so that a value can lie between two of them ----

let theme;
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["below", "zero", "above", "ink", "soft", "pick", "paper"];
  theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim().split(" ").map(Number)]));
}

const CIVIDIS = [
  [0, 34, 78], [0, 46, 108], [30, 58, 111], [53, 69, 108], [71, 81, 108], [87, 93, 109], [102, 105, 112], [117, 117, 117],
  [132, 130, 121], [148, 142, 119], [165, 156, 116], [183, 169, 110], [200, 184, 102], [219, 199, 90], [238, 214, 73],
  [254, 232, 56],
];

const rgb = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;
const blend = (from, to, share) => from.map((part, i) => part + (to[i] - part) * share);
const grey = (value) => rgb(Array(3).fill(255 * (0.07 + 0.93 * clamp(value, 1))));

// Blue below zero, amber above; small values are lifted a little, or most of a token would look empty.
function signed(value, most) {
  return blend(theme.zero, value < 0 ? theme.below : theme.above, Math.min(1, Math.abs(value) / most) ** 0.8);
}

function cividis(share) {
  const place = (CIVIDIS.length - 1) * clamp(share, 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return rgb(blend(CIVIDIS[low], CIVIDIS[low + 1], place - low));
}
