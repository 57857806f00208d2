// From what was measured to the page: medians, ratios, verdicts. Pure; run.mjs reads and writes.

import { chart } from './chart.mjs'
import { GOALS, WORKLOADS } from './goals.mjs'

export const OURS = 'moonmesh'
/** What is no system of its own: floors that nobody can go below, and variants of ours. */
const isFloor = (peer) => peer.startsWith('floor')
const isOurs = (peer) => peer.startsWith(OURS)
const isRate = (unit) => unit === '1/s'

/** An odd one out does not move it; of an even number, the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

export const short = (value) =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)))

/** Of tests of W5, for every system that ran all of them. */
function geometricMeans(metric, figures) {
  const ofPeer = new Map()
  for (const figure of figures) ofPeer.set(figure.peer, [...(ofPeer.get(figure.peer) ?? []), figure])
  const count = ofPeer.get(OURS)?.length ?? 0
  return [...ofPeer].flatMap(([peer, tests]) => {
    if (tests.length !== count) return []
    const mean = tests.reduce((product, test) => product * test.median, 1) ** (1 / count)
    return [{ metric, peer, unit: 's', values: [mean], median: mean }]
  })
}

/**
 * @param measured workload to `{ figures: [{ metric, peer, unit, n, values }], … }`
 * @returns workload to the same figures with their medians, ours first
 */
export function medians(measured) {
  const all = new Map()
  for (const [workload, { figures }] of Object.entries(measured)) {
    const rows = figures.map((figure) => ({ ...figure, median: median(figure.values) }))
    if (workload === 'W5') {
      const isWarm = ({ metric }) => metric.endsWith(', warm')
      const tests = rows.filter(({ unit }) => unit === 's')
      const first = geometricMeans(
        'geometric mean',
        tests.filter((test) => !isWarm(test)),
      )
      rows.push(...first, ...geometricMeans('geometric mean, warm', tests.filter(isWarm)))
    }
    all.set(workload, rows)
  }
  return all
}

const best = (rows) =>
  rows.reduce((found, row) => {
    if (found === undefined) return row
    return (isRate(row.unit) ? row.median > found.median : row.median < found.median) ? row : found
  }, undefined)

/**
 * Every goal with what was measured: `better` is how many times as good as the goal ours is, from 1 on it is met. What was not measured has neither.
 */
export function verdicts(all) {
  return GOALS.map((goal) => {
    const { workload, metric, ours = OURS, peer, theirs = metric, factor, limit } = goal
    const rows = all.get(workload) ?? []
    const own = rows.find((row) => row.metric === metric && row.peer === ours)
    const other = peer && best(rows.filter((row) => row.metric === theirs && peer.test(row.peer)))
    const wanted = limit ?? (other && factor * other.median)
    if (own === undefined || wanted === undefined) return { ...goal, ours, own, other }
    const better = isRate(own.unit) ? own.median / wanted : wanted / own.median
    const ratio = other && own.median / other.median
    return { ...goal, ours, own, other, wanted, better, ratio, isMet: better >= 1 }
  })
}

const goalKey = ({ workload, metric, ours, peer }) =>
  `${workload} ${metric}${ours === undefined || ours === OURS ? '' : ` (${ours})`}${peer === undefined ? '' : ` ${peer.source}`}`

/** What is said of a figure is said of it when warm as well. */
const explained = (explanations, goal) =>
  explanations[goalKey(goal)] ?? explanations[`${goal.workload} ${goal.metric.replace(/, warm$/, '')}`]

function wantedText({ own, other, limit, factor, peer }) {
  // Whether more is better is known by the unit.
  if (own === undefined) return ''
  const sign = isRate(own.unit) ? '≥' : '≤'
  if (limit !== undefined) return `${sign} ${short(limit)} ${own.unit}`
  const whose = other?.peer ?? peer.source.replace(/[^\w.]/g, '')
  return factor === 1 ? `${sign} ${whose}` : `${sign} ${factor} × ${whose}`
}

function goalsTable(rows) {
  const lines = ['| | figure | ours | goal | theirs | ours ÷ theirs | |', '|---|---|---:|---|---:|---:|---|']
  for (const row of rows) {
    const { workload, metric, own, other, ratio, isMet, ours } = row
    const name = ours === OURS ? metric : `${metric}, ${ours}`
    const verdict = isMet === undefined ? 'not measured' : isMet ? 'met' : '**missed**'
    const value = own === undefined ? '' : `${short(own.median)} ${own.unit}`
    lines.push(
      `| ${workload} | ${name} | ${value} | ${wantedText(row)} | ${other === undefined ? '' : short(other.median)} | ${ratio === undefined ? '' : ratio.toFixed(2)} | ${verdict} |`,
    )
  }
  return lines
}

/** Of one workload: a metric after the other, ours first, each beside ours. */
function workloadTable(rows) {
  const lines = ['| figure | system | median | unit | least … most | theirs ÷ ours |', '|---|---|---:|---|---|---:|']
  const metrics = [...new Set(rows.map(({ metric }) => metric))]
  const rank = ({ peer }) => (peer === OURS ? 0 : isOurs(peer) ? 1 : isFloor(peer) ? 3 : 2)
  for (const metric of metrics) {
    const own = rows.find((row) => row.metric === metric && row.peer === OURS)
    const those = rows.filter((row) => row.metric === metric)
    for (const row of those.sort((a, b) => rank(a) - rank(b) || a.peer.localeCompare(b.peer))) {
      const ratio = own === undefined || row === own ? '' : (row.median / own.median).toFixed(2)
      const range = row.values.length > 1 ? `${short(Math.min(...row.values))} … ${short(Math.max(...row.values))}` : ''
      lines.push(`| ${metric} | ${row.peer} | ${short(row.median)} | ${row.unit} | ${range} | ${ratio} |`)
    }
  }
  return lines
}

/** What grows with the size of something: a row a figure, a column a size. */
function growthTables(growth) {
  const lines = []
  for (const subject of new Set(growth.map(({ subject: each }) => each))) {
    const rows = growth.filter((row) => row.subject === subject)
    const sizes = [...new Set(rows.map(({ size }) => size))].sort((a, b) => a - b)
    lines.push('', `| ${subject} | ${sizes.map((size) => size.toLocaleString('en-US')).join(' | ')} |`)
    lines.push(`|---|${sizes.map(() => '---:').join('|')}|`)
    for (const metric of new Set(rows.map((row) => row.metric))) {
      const of = (size) => rows.find((row) => row.metric === metric && row.size === size)
      const { unit } = rows.find((row) => row.metric === metric)
      lines.push(`| ${metric}, ${unit} | ${sizes.map((size) => (of(size) ? short(of(size).value) : '')).join(' | ')} |`)
    }
  }
  return lines
}

const CAVEATS = `## How to read it

- One machine ran everything, client and servers alike, on loopback: there is no network in these figures, and whoever uses both cores takes them
  from the others. Figures of two machines, or of two days, do not compare; ratios of one run do.
- Median of the rounds, with the least and the most beside it. Below a quarter a difference says nothing, unless it holds in repeated runs.
- A goal that names a system takes the best of its variants in the same run: of its clients, and of Erlang with and without schedulers that spin.
- Erlang's \`global\` (W8, W10) asks connected nodes in memory: no majority, no disk, and after a partition two may hold. etcd and Moonmesh go through
  a log on disk. They are what users of names and locks get, not the same thing.
- W7: the disk is that of the machine, and a virtual one may be faster than any real one. Moonmesh's clients run in the leader (\`lua_\`) or beside it on a
  Unix socket (\`admin_\`), etcd's over TCP.
- W11: a killed program closes its connections. Erlang notices that; gossip alone, as serf's, finds out by probes. \`moonmesh\` does both.
- Floors are no systems: coroutines in one Lua machine, plain Node.js, one file that is synced.
- The simulator runs protocols with a clock of its own; what it says of time is no measurement.`

/** @param data what run.mjs keeps: `{ machine, measured, growth }`. @returns `{ markdown, svg, unexplained }` */
export function render(data, explanations, { svgName }) {
  const all = medians(data.measured)
  const goals = verdicts(all)
  const missed = goals.filter(({ isMet }) => isMet === false)
  const { machine } = data
  const lines = [
    '# Performance',
    '',
    'What Moonmesh does in a second, beside systems that do the same work. Written by `npm run bench`, which runs all of it on one machine:',
    '',
    '```sh',
    'npm run bench -- --rounds 2 --peers DIR --report docs/internals/performance.md',
    'npm run bench -- W7 --rounds 3 --peers DIR --report docs/internals/performance.md',
    '```',
    '',
    'The second line measures one workload again and leaves the others as they are. `DIR` holds the programs for the other systems;',
    'what is not installed is left out. All figures, round by round, are in the JSON file beside this page.',
    '',
    '## Goals',
    '',
    `![How far each figure is from its goal](${svgName})`,
    '',
    ...goalsTable(goals),
  ]
  if (missed.length > 0) {
    lines.push('', '### What is missed, and why', '')
    for (const goal of missed) {
      const why = explained(explanations, goal) ?? 'Not explained yet.'
      lines.push(`- **${goal.workload} ${goal.metric}**${goal.ours === OURS ? '' : ` (${goal.ours})`}: ${why}`)
    }
  }
  lines.push('', '## All figures')
  for (const [workload, [title, text]] of Object.entries(WORKLOADS)) {
    lines.push('', `### ${workload}: ${title}`, '', text, '')
    const entry = data.measured[workload]
    if (entry === undefined) lines.push('Not measured.')
    else {
      lines.push(...workloadTable(all.get(workload)))
      const absent = entry.missing.length > 0 ? ` Not installed: ${entry.missing.join(', ')}.` : ''
      const failed = entry.failed.length > 0 ? ` **Failed: ${entry.failed.join(', ')}.**` : ''
      const rounds = `${entry.rounds} round${entry.rounds === 1 ? '' : 's'}`
      lines.push('', `Measured ${entry.at} in ${rounds}; load before it ${short(entry.load)}.${absent}${failed}`)
    }
  }
  if (data.growth?.length > 0) {
    lines.push('', '## What more of it costs', '', 'One row a figure, one column a size.')
    lines.push(...growthTables(data.growth))
  }
  lines.push('', CAVEATS, '', '## The machine', '', '| | |', '|---|---|')
  for (const [what, value] of Object.entries(machine)) lines.push(`| ${what} | ${value} |`)
  lines.push('')
  const bars = goals
    .filter(({ better }) => better !== undefined)
    .map((goal) => ({
      label: `${goal.workload} ${goal.metric}${goal.ours === OURS ? '' : `, ${goal.ours.replace(`${OURS}/`, '').replace(`${OURS}, `, '')}`}`,
      better: goal.better,
      isMet: goal.isMet,
      text: `${short(goal.own.median)} ${goal.own.unit}, goal ${wantedText(goal)}`,
    }))
  return {
    markdown: lines.join('\n'),
    svg: chart(bars, 'Times as good as the goal'),
    unexplained: missed.filter((goal) => explained(explanations, goal) === undefined).map(goalKey),
  }
}
