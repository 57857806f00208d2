// The dashboard: what the admin interface tells of a node and its cluster, kept current. It only reads. Whatever comes from the node is shown as text:
// no name of a process or an entry can become markup.

const REFRESH_MS = 2000
const PROCESSES_MAX = 20
const EVENTS_MAX = 50
/** Without an answer for so long the node counts as out of reach. */
const ANSWER_MS_MAX = 8000

const byId = (id) => document.getElementById(id)

/** An element with text, or with other elements, in it. */
function make(tag, content, className = '') {
  const element = document.createElement(tag)
  if (className !== '') element.className = className
  if (Array.isArray(content)) element.append(...content)
  else element.textContent = String(content)
  return element
}

/** Columns: a title, what a row has there, whether that is a number, and how it is coloured. */
function fill(table, columns, rows, nothing) {
  const head = make(
    'tr',
    columns.map(({ title, isNumber }) => make('th', title, isNumber ? 'number' : '')),
  )
  const lines = rows.map((row) =>
    make(
      'tr',
      columns.map(({ text, isNumber, tone }) => {
        const classes = [isNumber ? 'number' : '', tone?.(row) ?? ''].filter((each) => each !== '')
        return make('td', text(row) ?? '–', classes.join(' '))
      }),
    ),
  )
  if (lines.length === 0) lines.push(make('tr', [make('td', nothing)]))
  table.replaceChildren(make('thead', [head]), make('tbody', lines))
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => [make('dt', name), make('dd', value)]))
}

function age(ms) {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

const clock = (ms) => new Date(ms).toLocaleTimeString()
const listed = (names) => (names.length === 0 ? '–' : names.join(', '))

const MEMBERS = [
  { title: 'name', text: ({ name, local }) => (local ? `${name} (this node)` : name) },
  {
    title: 'state',
    text: ({ state }) => state,
    tone: ({ state }) => (state === 'alive' ? 'good' : state === 'left' ? '' : state === 'suspect' ? 'odd' : 'bad'),
  },
  { title: 'role', text: ({ role }) => role },
  { title: 'address', text: ({ addr }) => addr },
  {
    title: 'round trip',
    text: ({ rtt_ms: rtt }) => (rtt === null ? undefined : `${rtt.toFixed(1)} ms`),
    isNumber: true,
  },
  { title: 'failure domain', text: ({ failure_domain: domain }) => (domain === '' ? undefined : domain) },
  { title: 'version', text: ({ version }) => version },
]
const SERVICES = [
  { title: 'service', text: ({ id }) => id },
  { title: 'kind', text: ({ kind }) => kind },
  {
    title: 'state',
    text: ({ state }) => state,
    tone: ({ state }) => (state === 'running' ? 'good' : state === 'failed' ? 'bad' : state === 'exited' ? '' : 'odd'),
  },
  { title: 'since', text: ({ since_ms: since }) => (since === 0 ? undefined : clock(since)) },
  { title: 'attempts', text: ({ attempts }) => attempts, isNumber: true },
  { title: 'error', text: ({ error }) => error?.message ?? '' },
]
const PROCESSES = [
  { title: 'process', text: ({ pid }) => pid },
  { title: 'entry', text: ({ entry }) => entry },
  { title: 'state', text: ({ state }) => state },
  {
    title: 'unread',
    text: ({ mailbox }) => mailbox,
    isNumber: true,
    tone: ({ mailbox }) => (mailbox > 1000 ? 'odd' : ''),
  },
  { title: 'reductions', text: ({ reductions }) => reductions, isNumber: true },
  { title: 'age', text: ({ age_ms: ms }) => age(ms), isNumber: true },
  { title: 'names', text: ({ names }) => names.join(', ') },
]
const EVENTS = [
  { title: 'time', text: ({ time_ms: ms }) => clock(ms) },
  { title: 'event', text: ({ kind }) => kind },
  { title: 'about', text: ({ subject }) => subject },
  { title: '', text: ({ data }) => (data === undefined ? '' : JSON.stringify(data)) },
]

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return text
}

const asked = async (path) => JSON.parse(await ask(path))

/** The values of a metric, by the one label that counts; '' for a metric without labels. */
function series(metrics, name, label) {
  const found = new Map()
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(name)) continue
    const [, labels, value] = /^[a-z_]+(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (value === undefined || !/^[ {]/.test(line.slice(name.length))) continue
    const [, of = ''] = new RegExp(`(?:^|,)${label}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels ?? '') ?? []
    found.set(of, Number(value))
  }
  return found
}

function showCounts(metrics) {
  const names = [...series(metrics, 'names', 'scope')].map(([scope, count]) => [`names, ${scope}`, count])
  const held = [...series(metrics, 'locks_held', '')].map(([, count]) => ['locks held', count])
  const groups = [...series(metrics, 'pg_groups', 'scope')].map(([scope, count]) => [`groups of ${scope}`, count])
  const all = [...names, ...held, ...groups]
  facts(byId('counts'), all.length === 0 ? [['names, locks, groups', '–']] : all)
}

function showStatus(status, group, members) {
  document.title = `${status.node} · moonmesh`
  byId('node').textContent = status.node
  byId('about').textContent = `moonmesh ${status.version}, Node.js ${status.node_js}, up ${age(status.uptime_ms)}`
  const checks = status.checks.map(({ name, ok, detail }) =>
    make('li', [
      make('strong', ok ? '✓ ' : '✗ ', ok ? 'good' : 'bad'),
      make('span', `${name} `),
      make('small', detail),
    ]),
  )
  byId('checks').replaceChildren(...checks)
  facts(byId('cluster'), [
    ['cluster', group.cluster_id ?? 'clustering is off'],
    ['role', group.role],
    ['leader', group.leader ?? '–'],
    ['term', group.term],
    ['committed, applied', `${group.commit_index}, ${group.applied_index}`],
    ['voters', listed(group.voters)],
    ['standbys', listed(group.standbys)],
    ['quorum', group.quorum ? 'yes' : 'no'],
    ...(group.waiting_for === null ? [] : [['waits for', group.waiting_for]]),
  ])
  fill(byId('members'), MEMBERS, members, 'nobody')
}

function connection(text, isLost) {
  byId('connection').textContent = text
  byId('connection').className = isLost ? 'lost' : ''
  document.querySelector('main').className = isLost ? 'stale' : ''
}

let isAsking = false
let isWanted = false

/** One question at a time: a node that is slow is not asked more for it. */
async function refresh() {
  isWanted = true
  if (isAsking) return
  isAsking = true
  try {
    while (isWanted) {
      isWanted = false
      const top = `/v1/processes?top=${PROCESSES_MAX}`
      const paths = ['/v1/status', '/v1/raft', '/v1/members', '/v1/services', top]
      const [[status, group, members, services, processes], metrics] = await Promise.all([
        Promise.all(paths.map(asked)),
        ask('/metrics'),
      ])
      showStatus(status, group, members)
      showCounts(metrics)
      fill(byId('services'), SERVICES, services, 'none')
      fill(byId('processes'), PROCESSES, processes, 'none')
      connection(`as of ${clock(Date.now())}`, false)
    }
  } catch (error) {
    connection(`out of reach (${error.message}), trying again`, true)
  } finally {
    isAsking = false
  }
}

const events = []

function follow() {
  const source = new EventSource('/v1/events')
  const take = ({ data }) => {
    const event = JSON.parse(data)
    events.unshift(
      'count' in event ? { time_ms: Date.now(), kind: `${event.count} events were left out`, subject: '' } : event,
    )
    events.length = Math.min(events.length, EVENTS_MAX)
    later()
  }
  for (const type of ['membership', 'leadership', 'name', 'process', 'service', 'entry', 'missed'])
    source.addEventListener(type, take)
  // A browser comes back by itself after most failures, but not after an answer that is an error.
  source.addEventListener('error', () => {
    if (source.readyState !== EventSource.CLOSED) return
    source.close()
    setTimeout(follow, REFRESH_MS)
  })
  source.addEventListener('open', () => void refresh())
}

let isDue = false

/** Events come in swarms: they are shown together, and of what they changed the next round tells. */
function later() {
  if (isDue) return
  isDue = true
  setTimeout(() => {
    isDue = false
    fill(byId('events'), EVENTS, events, 'none yet')
  }, 250)
}

fill(byId('events'), EVENTS, events, 'none yet')
void refresh()
follow()
setInterval(() => {
  if (document.visibilityState !== 'hidden') void refresh()
}, REFRESH_MS)
document.addEventListener('visibilitychange', () => void refresh())
