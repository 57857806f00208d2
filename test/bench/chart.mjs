// How far each figure is from its goal, as a picture: a bar to the right is better than it has to be, one to the left worse. The axis is logarithmic.

const [LEFT, WIDTH, ROW, TOP] = [330, 420, 22, 44]
/** Beyond this a bar is cut. */
const FACTOR_MAX = 10
const COLOURS = { met: '#2e7d32', missed: '#c62828' }

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** @param rows `{ label, better, isMet, text }`; better: how many times as good as the goal. @returns SVG */
export function chart(rows, title) {
  const height = TOP + rows.length * ROW + 30
  const middle = LEFT + WIDTH / 2
  const x = (factor) => {
    const part = Math.log10(Math.min(FACTOR_MAX, Math.max(1 / FACTOR_MAX, factor))) / Math.log10(FACTOR_MAX)
    return middle + (part * WIDTH) / 2
  }
  const grid = [0.1, 0.2, 0.5, 1, 2, 5, 10].map(
    (factor) =>
      `<line x1="${x(factor).toFixed(1)}" y1="${TOP - 6}" x2="${x(factor).toFixed(1)}" y2="${height - 24}" stroke="${factor === 1 ? '#444' : '#ddd'}"/>` +
      `<text x="${x(factor).toFixed(1)}" y="${height - 8}" text-anchor="middle" fill="#666">${factor}×</text>`,
  )
  const bars = rows.map(({ label, better, isMet, text }, i) => {
    const y = TOP + i * ROW
    const [from, to] = [Math.min(middle, x(better)), Math.max(middle, x(better))]
    return (
      `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end">${escaped(label)}</text>` +
      `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(1, to - from).toFixed(1)}" height="${ROW - 8}" fill="${isMet ? COLOURS.met : COLOURS.missed}"/>` +
      `<text x="${LEFT + WIDTH + 10}" y="${y + 14}" fill="#333">${escaped(text)}</text>`
    )
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="960" height="${height}" viewBox="0 0 960 ${height}" font-family="sans-serif" font-size="12"><title>How far each figure is from its goal</title>`,
    `<rect width="960" height="${height}" fill="#fff"/>`,
    `<text x="20" y="22" font-size="15" font-weight="bold">${escaped(title)}</text>`,
    ...grid,
    ...bars,
    '</svg>',
    '',
  ].join('\n')
}
