// A pen on a pad of a few pixels: full ink up to its radius, none half a pixel on, as soft as a scan.

const PEN_RADIUS = 0.7; // in pixels of the pad

// Ink is one number for each pixel, row after row; from and to are [row, col].
function stroke(ink, from, to, cols, rub) {
  return ink.map((before, pixel) => {
    const far = distance([Math.floor(pixel / cols), pixel % cols], from, to);
    const cover = Math.min(Math.max(PEN_RADIUS + 0.5 - far, 0), 1);
    return rub ? Math.min(before, 1 - cover) : Math.max(before, cover);
  });
}

function distance([y, x], [y0, x0], [y1, x1]) {
  const [dy, dx] = [y1 - y0, x1 - x0];
  const along = Math.min(Math.max(((y - y0) * dy + (x - x0) * dx) / (dy * dy + dx * dx || 1), 0), 1);
  return Math.hypot(y - y0 - along * dy, x - x0 - along * dx);
}
