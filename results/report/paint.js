'use strict';
// Draws every figure of the page in the reader's colours, and again when these, or the paper, change.
const dark = matchMedia('(prefers-color-scheme: dark)');
const pairs = Object.entries(JSON.parse(document.getElementById('colours').textContent));

function figureOf(node, night) {
  let text = node.textContent;
  if (night) for (const [day, other] of pairs) text = text.replaceAll(day, other);
  const figure = JSON.parse(text);
  figure.layout.font.color = night ? '#e6e6e6' : '#1c1c1c';
  return figure;
}

function paint(paper = 0) {
  for (const node of document.querySelectorAll('script.figure')) {
    const place = document.getElementById(node.dataset.for);
    const figure = figureOf(node, dark.matches && !paper);
    if (innerWidth < 600 && !paper) {
      figure.layout.margin = {...figure.layout.margin, l: 46, r: 8};
      figure.layout.legend = {...figure.layout.legend, font: {size: 11}};
      figure.layout.font.size = 11;
    }
    if (paper) figure.layout.width = paper;
    const tools = {responsive: !paper, displaylogo: false, displayModeBar: paper ? false : undefined,
                   modeBarButtonsToRemove: ['lasso2d', 'select2d', 'autoScale2d']};
    Plotly.react(place, figure.data, figure.layout, tools);
  }
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).text();
}

async function begin() {
  const packed = document.getElementById('plotly');
  try {
    if (packed) {
      const library = document.createElement('script');
      library.textContent = await unpacked(packed.textContent);
      document.head.append(library);
    }
    paint();
    document.documentElement.dataset.painted = 'yes';
  } catch (error) {
    for (const place of document.querySelectorAll('.chart')) {
      place.textContent = `This browser cannot draw the charts (${error}); the tables are complete without them.`;
      place.classList.add('note');
    }
    document.documentElement.dataset.painted = 'no';
    return;
  }
  dark.addEventListener('change', () => paint());
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll('details:not([open])')];
    for (const details of opened) details.open = true;  // what is folded cannot be unfolded on paper
    paint(680);
  });
  addEventListener('afterprint', () => {
    for (const details of opened) details.open = false;
    paint();
  });
}
begin();
