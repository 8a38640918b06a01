'use strict';
// Asks for the newest state once a second and shows it; texts of the run are only ever set as text.
const place = document.getElementById('live');
const dark = matchMedia('(prefers-color-scheme: dark)');
const pairs = Object.entries(JSON.parse(document.getElementById('colours').textContent));
const dashes = ['solid', 'dash', 'dot', 'dashdot'];
const series = new Map();
const MOST_POINTS = 1200;
let misses = 0;
let still = false;  // nothing is being written

function cells(row, values, labels) {
  values.forEach((value, index) => {
    const cell = document.createElement(index ? 'td' : 'th');
    if (!index) cell.scope = 'row';
    if (labels[index]) cell.dataset.label = labels[index];
    if (value instanceof Node) cell.append(value); else cell.textContent = value;
    if (typeof value === 'number') cell.className = 'number';
    row.append(cell);
  });
  return row;
}

function meter(behind) {
  const bar = document.createElement('meter');
  bar.max = 20; bar.low = 3; bar.high = 10; bar.optimum = 0; bar.value = Math.min(behind, 20);
  const both = document.createElement('span');
  both.append(bar, ` ${behind}`);
  return both;
}

function known(number) { return number < 0 ? '–' : number; }

function remember(state) {
  for (const node of state.nodes) {
    if (!node.points.length) continue;
    const begin = node.points[0][0];  // from here on the newest look knows better
    const older = (series.get(node.node) || []).filter(point => point[0] < begin);
    series.set(node.node, [...older, ...node.points].slice(-MOST_POINTS));
  }
}

function plain(text) { return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;'); }

function draw() {
  const ink = dark.matches ? '#e6e6e6' : '#1c1c1c';
  const palette = pairs.map(pair => pair[Number(dark.matches)]);
  const data = [...series].map(([name, line], index) => ({
    x: line.map(point => point[0]), y: line.map(point => point[1]), name: plain(name), mode: 'lines',
    line: {shape: 'hv', color: palette[index % 8], dash: dashes[Math.floor(index / 8) % 4]}}));
  Plotly.react('heights', data, {
    height: 320, margin: {l: 56, r: 10, t: 10, b: 44}, font: {color: ink, family: 'system-ui, sans-serif', size: 13},
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', legend: {orientation: 'h', y: 1.02, yanchor: 'bottom'},
    xaxis: {title: {text: 'seconds of the run'}, gridcolor: 'rgba(128,128,128,.25)', zeroline: false},
    yaxis: {title: {text: 'height'}, gridcolor: 'rgba(128,128,128,.25)', zeroline: false}},
    {responsive: true, displaylogo: false, displayModeBar: false});
}

function show(state) {
  const badge = document.getElementById('state');
  badge.textContent = state.state;
  badge.className = 'badge ' + (state.state === 'surprise' ? 'fail' : state.state === 'as expected' ? 'pass' : 'plain');
  document.getElementById('seconds').textContent = `${state.seconds.toFixed(1)} s`;
  document.getElementById('faults').textContent = state.active.length ? `faults on: ${state.active.join(', ')}` : 'no fault is on';
  const best = Math.max(0, ...state.nodes.map(node => node.height));
  document.getElementById('nodes').replaceChildren(...state.nodes.map(node => cells(document.createElement('tr'),
    [node.byzantine ? `${node.node} (Byzantine)` : node.node, known(node.height),
     node.height < 0 ? '–' : meter(best - node.height), known(node.view), `${node.last.toFixed(1)} s`], ['', 'height', 'behind', 'view', 'last record'])));
  const told = ['invoke', 'ok', 'fail', 'info'].map(kind => `${state.operations[kind] || 0} ${kind}`).join(', ');
  document.getElementById('operations').textContent = `${told} (${state.counted || 'all'} records of the history)`;
  document.getElementById('recent').replaceChildren(...state.recent.map(op =>
    cells(document.createElement('tr'), [op.at, op.who, op.what, op.value], ['', 'process', '', ''])));
  remember(state);
  draw();
}

async function look() {
  try {
    const answer = await fetch(place.dataset.source, {cache: 'no-store'});
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const state = await answer.json();
    misses = 0;
    still = state.state !== 'running';
    show(state);
    place.dataset.looks = Number(place.dataset.looks || 0) + 1;
    if (state.over) return finish(state);
  } catch (error) {
    misses += 1;
    document.getElementById('state').textContent = `no answer (${error.message})`;
    if (misses > 30) return;
  }
  setTimeout(look, still ? 5000 : 1000);
}

function finish(state) {
  const link = document.createElement('a');
  link.href = place.dataset.page;
  link.textContent = 'open the report';
  if (!['broken off', 'interrupted'].includes(state.state)) document.getElementById('seconds').append(' — ', link);
}

dark.addEventListener('change', draw);
look();
