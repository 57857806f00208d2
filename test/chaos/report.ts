// What a run was like: figures, a picture of what happened when, and what was found, as Markdown and SVG.

import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { holdingsOf } from './checks/locks.ts'
import { longestGap, takeovers } from './checks/merging.ts'
import { groupBy, type History, isUnknown, type Operation } from './history.ts'
import type { Plan } from './plan.ts'
import { FAULT_ROWS } from './rows.ts'

export interface Report {
  readonly plan: Plan
  readonly minutes: number
  readonly history: History
  /** What this machine did not permit. */
  readonly limits: readonly string[]
  readonly fromMs: number
  readonly toMs: number
  readonly healedMs: number
  /** From the end of the last fault until all nodes were ready and knew each other. */
  readonly wholeMs: number
  readonly convergedMs: number
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1)

export function summary(report: Report): string {
  const { history, plan } = report
  const unknown = history.operations.filter(isUnknown).length
  const { violations } = history
  return [
    '',
    `seed ${plan.seed}: ${history.operations.length} operations (${unknown} of unknown outcome), ${history.windows.length} faults; ` +
      `whole ${seconds(report.wholeMs)} s after healing, equal ${seconds(report.convergedMs)} s later`,
    `longest time without an acknowledged write ${seconds(gap(report).ms)} s; takeovers: ${takeoverText(report)}`,
    ...history.notes.map((note) => `note: ${note}`),
    violations.length === 0 ? 'nothing found' : `${violations.length} found:`,
    ...violations.slice(0, 30),
  ].join('\n')
}

const gap = ({ history, fromMs, healedMs }: Report): { ms: number; atMs: number } =>
  longestGap(history, fromMs, healedMs)

function takeoverText(report: Report): string {
  const { lock, name } = takeoversOf(report.history)
  const text = (all: readonly number[]): string =>
    all.length === 0 ? 'none' : all.map((ms) => `${seconds(ms)} s`).join(', ')
  return `lock ${text(lock)}; name ${text(name)}`
}

/** From the kill of the holder's node until the next one has it. */
function takeoversOf(history: History): { lock: number[]; name: number[] } {
  const locks = holdingsOf(history).filter(({ name }) => name === 'keep')
  const owners = history
    .of('register', 'lookup')
    .filter(({ order, reply }) => order['name'] === 'sole' && reply !== undefined && reply.err === undefined)
    .filter(({ order, reply }) => order.op === 'register' || reply?.['found'] === reply?.pid)
    .map(({ node, atMs = 0 }) => ({ node, fromMs: atMs, toMs: atMs }))
  return { lock: takeovers(history, locks), name: takeovers(history, owners) }
}

export function writeReport(dir: string, report: Report): void {
  mkdirSync(dir, { recursive: true })
  const { plan } = report
  writeFileSync(join(dir, `seed-${plan.seed}.svg`), timeline(report))
  writeFileSync(join(dir, `seed-${plan.seed}.md`), markdown(report))
}

function markdown(report: Report): string {
  const { plan, history, limits, minutes, fromMs } = report
  const { violations, notes } = history
  const worst = gap(report)
  const kinds = groupBy(history.windows, ({ fault }) => fault.kind)
  const rows = [...kinds.keys()].flatMap((kind) => FAULT_ROWS[kind] ?? [])
  return `# Chaos: seed ${plan.seed}

\`npm run chaos -- --minutes ${minutes} --seed ${plan.seed} --nodes ${plan.nodes}\` on ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), Node ${process.version}:
${plan.nodes - plan.clients} servers and ${plan.clients} ${plan.clients === 1 ? 'client' : 'clients'}, ${plan.voters} voters, security: ${plan.security}.

${violations.length === 0 ? '**Nothing was found.**' : `**${violations.length} found:**\n\n${violations.map((each) => `- ${each.split('\n').join('\n  ')}`).join('\n')}`}

![what happened when](seed-${plan.seed}.svg)

| | |
|---|---|
| faults | ${history.windows.length} |
| operations | ${history.operations.length}, ${history.operations.filter(isUnknown).length} of them of unknown outcome |
| all nodes ready, after the last fault ended | ${seconds(report.wholeMs)} s |
| names, groups and merging stores equal, after that | ${seconds(report.convergedMs)} s |
| longest time without an acknowledged write, in the whole cluster | ${seconds(worst.ms)} s, from ${seconds(worst.atMs - fromMs)} s on |
| next holder, from the kill of the holder's node | ${takeoverText(report)} |

${operations(report)}

Faults: ${[...kinds].map(([kind, all]) => `${kind} ${all.length}`).join(', ')}.
${rows.length === 0 ? '' : `\nRows of the failure table that they provoke: ${[...new Set(rows)].sort((a, b) => a - b).join(', ')}.\n`}${
  limits.length === 0 ? '' : `\nNot possible on this machine:\n\n${limits.map((each) => `- ${each}`).join('\n')}\n`
}${notes.length === 0 ? '' : `\nNotes:\n\n${notes.map((each) => `- ${each}`).join('\n')}\n`}`
}

/** By operation: how many, with which outcome, how long they took. */
function operations({ history, fromMs, toMs }: Report): string {
  const took = (all: readonly Operation[], share: number): string => {
    const times = all
      .flatMap(({ atMs, sentMs }) => (atMs === undefined ? [] : [atMs - sentMs]))
      .toSorted((a, b) => a - b)
    return times.length === 0 ? '' : (times[Math.floor(times.length * share)] as number).toFixed(0)
  }
  const rows = [...groupBy(history.operations, ({ order }) => order.op)]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([op, all]) => {
      const ok = all.filter(({ reply }) => reply !== undefined && reply.err === undefined)
      const unknown = all.filter(isUnknown)
      const perSecond = (all.length / ((toMs - fromMs) / 1000)).toFixed(1)
      return `| ${op} | ${all.length} | ${ok.length} | ${all.length - ok.length - unknown.length} | ${unknown.length} | ${perSecond} | ${took(ok, 0.5)} | ${took(ok, 0.99)} |`
    })
  return [
    '| operation | asked | done | refused | unknown | 1/s | p50, ms | p99, ms |',
    '|---|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

const WIDTH = 1100
const LEFT = 150
const LANE = 26

/** A lane for each node with its faults, and one for acknowledged writes a second. */
function timeline({ plan, history, fromMs, toMs }: Report): string {
  const x = (atMs: number): number =>
    LEFT + ((Math.min(Math.max(atMs, fromMs), toMs) - fromMs) / (toMs - fromMs)) * (WIDTH - LEFT - 10)
  const parts: string[] = []
  for (let node = 0; node < plan.nodes; node++) {
    const y = 30 + node * LANE
    const role = node >= plan.nodes - plan.clients ? 'client' : 'server'
    parts.push(`<text x="8" y="${y + 16}">n${node + 1} (${role})</text>`)
    parts.push(`<rect x="${LEFT}" y="${y}" width="${WIDTH - LEFT - 10}" height="${LANE - 6}" fill="#eef2f0"/>`)
    for (const { fault, nodes, fromMs: since, toMs: until, text } of history.windows) {
      if (!nodes.includes(node)) continue
      const width = Math.max(2, x(until) - x(since)).toFixed(1)
      parts.push(
        `<rect x="${x(since).toFixed(1)}" y="${y}" width="${width}" height="${LANE - 6}" fill="${colourOf(fault.kind)}" fill-opacity="0.7"><title>${escaped(text)}</title></rect>`,
      )
    }
  }
  const top = 30 + plan.nodes * LANE + 10
  const height = 80
  const perSecond = new Map<number, number>()
  for (const { order, reply, atMs } of history.operations) {
    if (
      atMs === undefined ||
      reply === undefined ||
      reply.err !== undefined ||
      !['put', 'add', 'move', 'lock', 'register'].includes(order.op)
    )
      continue
    const second = Math.floor((atMs - fromMs) / 1000)
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
  }
  const most = Math.max(1, ...perSecond.values())
  parts.push(`<text x="8" y="${top + 16}">writes, 1/s</text><text x="8" y="${top + 32}">most: ${most}</text>`)
  for (const [second, value] of [...perSecond].toSorted(([a], [b]) => a - b)) {
    const from = x(fromMs + second * 1000)
    const tall = (value / most) * height
    const width = Math.max(0.5, x(fromMs + (second + 1) * 1000) - from)
    if (second >= 0)
      parts.push(
        `<rect x="${from.toFixed(1)}" y="${(top + height - tall).toFixed(1)}" width="${width.toFixed(1)}" height="${tall.toFixed(1)}" fill="#3b7a57"/>`,
      )
  }
  const bottom = top + height + 18
  for (let minute = 0; minute * 60_000 <= toMs - fromMs; minute++) {
    parts.push(`<text x="${x(fromMs + minute * 60_000).toFixed(1)}" y="${bottom}">${minute} min</text>`)
  }
  const kinds = [...new Set(history.windows.map(({ fault }) => fault.kind))].sort()
  const legend = kinds.map((kind, i) => {
    const at = { x: LEFT + (i % 7) * 134, y: bottom + 14 + Math.floor(i / 7) * 18 }
    return `<rect x="${at.x}" y="${at.y}" width="12" height="12" fill="${colourOf(kind)}" fill-opacity="0.7"/><text x="${at.x + 16}" y="${at.y + 10}">${kind}</text>`
  })
  const tall = bottom + 24 + Math.ceil(kinds.length / 7) * 18
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${tall}" viewBox="0 0 ${WIDTH} ${tall}" font-family="sans-serif" font-size="11"><title>What happened when</title>
<rect width="${WIDTH}" height="${tall}" fill="#ffffff"/>
<text x="8" y="18" font-size="13">seed ${plan.seed}: faults by node, and what was written meanwhile</text>
${[...parts, ...legend].join('\n')}
</svg>
`
}

/** Kinds that are alike have colours that are. */
function colourOf(kind: string): string {
  if (['kill', 'kill-all', 'rolling-restart', 'move'].includes(kind)) return '#b3261e'
  if (['power', 'power-all'].includes(kind)) return '#6b0f0a'
  if (kind === 'stop') return '#d98200'
  if (['halves', 'isolate', 'deaf', 'mute', 'bridge', 'pair', 'flicker'].includes(kind)) return '#1f5fa8'
  if (['slow-link', 'loss'].includes(kind)) return '#6aa5e0'
  if (['full-disk', 'slow-disk'].includes(kind)) return '#7a4fa3'
  if (['corrupt', 'rollback', 'wipe'].includes(kind)) return '#3a1a52'
  return '#6d6d6d'
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
