const dark = matchMedia('(prefers-color-scheme: dark)');
function paint() {
  const ink = dark.matches ? '#e6e6e6' : '#1c1c1c';
  for (const node of document.querySelectorAll('script.figure')) {
    const figure = JSON.parse(node.textContent);
    figure.layout.font.color = ink;
    if (innerWidth < 600) {
      figure.layout.margin = {l: 44, r: 6, t: 20, b: 40};
      figure.layout.legend = {orientation: 'h', y: -0.25};
    }
    Plotly.react(node.dataset.for, figure.data, figure.layout, {responsive: true, displaylogo: false});
  }
}
dark.addEventListener('change', paint);
paint();
