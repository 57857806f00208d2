// A story about a cluster of gossip, a line a fact: what is done, and what must then be true. Named tests are written in it;
// see gossip.test.ts. Durations are `ms`, `s` or `m`.
//
//   settle                     all know each other           run 10m
//   crash n7                   without a word                 restart n7 [elsewhere] [wiped]
//   leave n5                   freeze n3 5s                   slow n3 30% by 1s for 60s
//   partition n1 n2 n3         these from all others          cut n1 > n2       heal
//   loss 10%                   bandwidth 64000                tag n2 1
//   agree within 60s           all views are the truth        quiet for 60s     nobody hears of anything
//   gone n7 within 25s         known everywhere               forgotten n7      not even remembered as dead
//   heard n4: left joined      the last events about n4, at every other node
//   deaths 0                   verdicts over the living

import { InvariantError } from './checkers/invariant-error.ts'
import { GossipWorld, type GossipWorldOptions, tagsOf } from './gossip.ts'

type Run = (cluster: GossipWorld, words: string[]) => void

const LINES: readonly (readonly [form: RegExp, run: Run])[] = [
  [/^settle$/, (cluster) => cluster.settle()],
  [/^run (\S+)$/, (cluster, [time = '']) => cluster.world.run(ms(time))],
  [/^crash (\S+)$/, (cluster, [name = '']) => cluster.crash(name)],
  [
    /^restart (\S+)( elsewhere)?( wiped)?$/,
    (cluster, [name = '', elsewhere, wiped]) => {
      if (cluster.node(name).isRunning) cluster.crash(name)
      cluster.start(name, { isElsewhere: elsewhere !== undefined, isWiped: wiped !== undefined })
    },
  ],
  [/^leave (\S+)$/, (cluster, [name = '']) => cluster.node(name).feed({ kind: 'leave' })],
  [/^freeze (\S+) (\S+)$/, (cluster, [name = '', time = '']) => cluster.node(name).process.freeze(ms(time))],
  [
    /^slow (\S+) (\d+)% by (\S+) for (\S+)$/,
    (cluster, [name = '', percent = '', period = '', time = '']) =>
      cluster.node(name).process.slow({ share: Number(percent) / 100, periodMs: ms(period), durationMs: ms(time) }),
  ],
  [
    /^partition (.+)$/,
    (cluster, [names = '']) => {
      const group = names.split(' ').map((name) => cluster.node(name).key)
      const rest = cluster.running().map((node) => node.key)
      cluster.network.partition(
        group,
        rest.filter((key) => !group.includes(key)),
      )
      cluster.disturbed(true)
    },
  ],
  [
    /^cut (\S+) > (\S+)$/,
    (cluster, [from = '', to = '']) => {
      cluster.network.cut(cluster.node(from).key, cluster.node(to).key)
      cluster.disturbed(true)
    },
  ],
  [
    /^heal$/,
    (cluster) => {
      cluster.network.heal()
      cluster.disturbed(false)
    },
  ],
  [
    /^loss (\d+)%$/,
    (cluster, [percent = '']) => {
      cluster.network.faults.loss = Number(percent) / 100
      cluster.disturbed(Number(percent) > 10)
    },
  ],
  [
    /^bandwidth (\d+)$/,
    (cluster, [bytes = '']) => {
      cluster.network.faults.bytesPerSecond = Number(bytes)
    },
  ],
  [/^tag (\S+) (\S+)$/, (cluster, [name = '', x = '']) => cluster.node(name).feed({ kind: 'tags', tags: tagsOf(x) })],
  [/^agree within (\S+)$/, (cluster, [time = '']) => cluster.converge(ms(time), 'views agree')],
  [/^quiet for (\S+)$/, (cluster, [time = '']) => cluster.staysQuiet(ms(time))],
  [
    /^gone (\S+) within (\S+)$/,
    (cluster, [name = '', time = '']) => {
      const tookMs = cluster.detect(name)
      expect(tookMs <= ms(time), `${name} is known to be gone after ${Math.round(tookMs)} ms`)
    },
  ],
  [
    /^forgotten (\S+)$/,
    (cluster, [name = '']) => {
      const knows = cluster.running().find((node) => node.swim.member(name) !== undefined)
      expect(knows === undefined, `${knows?.name} still lists ${name}`)
    },
  ],
  [
    /^heard (\S+): (.+)$/,
    (cluster, [name = '', kinds = '']) => {
      const expected = kinds.split(' ')
      for (const node of cluster.running()) {
        if (node.name === name) continue
        const events = node.events.filter((event) => event.name === name).slice(-expected.length)
        const heard = events.map(({ kind, reason }) => (reason === undefined ? kind : `${kind}(${reason})`)).join(' ')
        expect(heard === kinds, `${node.name} heard of ${name}: ${heard}`)
      }
    },
  ],
  [
    /^deaths (\d+)$/,
    (cluster, [count = '']) => {
      const deaths = cluster.checker.falseDeaths
      const told = deaths.map(({ observer, victim }) => `${victim} by ${observer}`).join(', ')
      expect(deaths.length === Number(count), `${deaths.length} false deaths: ${told}`)
    },
  ],
]

/** Tells a story. @throws InvariantError with the line at which it is not true */
export function tell(options: GossipWorldOptions, story: string): GossipWorld {
  const cluster = new GossipWorld({ ...options, trace: true })
  for (const line of story.split('\n').map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue
    cluster.note(line)
    try {
      runLine(cluster, line)
    } catch (error) {
      if (!(error instanceof InvariantError)) throw error
      throw new InvariantError([...cluster.world.trace, `at: ${line}`, error.message].join('\n'), { cause: error })
    }
  }
  return cluster
}

function runLine(cluster: GossipWorld, line: string): void {
  for (const [form, run] of LINES) {
    const match = form.exec(line)
    if (match !== null) return run(cluster, match.slice(1))
  }
  throw new Error(`not a line of a story: ${line}`)
}

function expect(fact: boolean, otherwise: string): void {
  if (!fact) throw new InvariantError(otherwise)
}

function ms(text: string): number {
  const match = /^([\d.]+)(ms|s|m)$/.exec(text)
  if (match === null) throw new Error(`not a duration: ${text}`)
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[match[2] as 'ms' | 's' | 'm']
}
