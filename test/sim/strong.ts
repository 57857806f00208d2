// Strong names on a log that is given (one machine, which applies in order), with what lies between it and the nodes left to chance: questions
// and answers that are late, lost or doubled, bindings that reach a node long after, nodes that start again. N1, N2, N3 and N4 after every step.

import { BindingCache } from '../../cluster/names/core/cache.ts'
import { type Check, Exclusions } from '../../cluster/names/core/exclusions.ts'
import { holderAgainst } from '../../cluster/names/core/resolve.ts'
import type { Command } from '../../cluster/state/core/commands.ts'
import { Machine } from '../../cluster/state/core/machine.ts'
import type { Outcome } from '../../cluster/state/core/outcomes.ts'
import { decodeCommands } from '../../cluster/state/wire/commands.ts'
import { encodeCommands } from '../tools/state-commands.ts'
import { InvariantError } from './checkers/invariant-error.ts'
import { checkNames } from './checkers/names.ts'
import { World } from './world.ts'

export interface StrongChaosOptions {
  readonly seed: number
  readonly nodes: number
  readonly minutes: number
  /** A node agrees without keeping others out; one that joins does not ask what there is: to see that it is found. */
  readonly bug?: 'forgets' | 'no-barrier'
}

interface StrongChaosReport {
  readonly steps: number
  readonly active: number
  readonly rejected: number
  readonly expired: number
}

const NAMES = ['x', 'y', 'z']

interface StrongNode {
  readonly name: string
  readonly epoch: number
  readonly session: number
  readonly cache: BindingCache
  readonly exclusions: Exclusions
  readonly local: Map<string, string>
  isReady: boolean
}

/** @throws InvariantError */
export function runStrongChaos({ seed, nodes: count, minutes, bug }: StrongChaosOptions): StrongChaosReport {
  const world = new World(seed)
  const { chance } = world
  const machine = new Machine(decodeCommands)
  machine.apply({ index: 1, clockMs: 0, kind: 'noop' })
  const nodes = new Map<string, StrongNode>()
  const seqs = new Map<number, number>()
  const report = { steps: 0, active: 0, rejected: 0, expired: 0 }
  let epoch = 1

  const broken = (what: string): InvariantError => new InvariantError(`${what}; seed ${seed}`)
  const later = (maxMs: number, act: () => void): void => world.after(chance.between(0, maxMs), act)
  const pidOf = (node: StrongNode): string => `{${node.name}@h|${node.epoch.toString(36)}.${1 + chance.int(3)}00}`

  const check = (): void => {
    checkNames(machine)
    for (const name of machine.names.names()) {
      const bound = machine.names.lookup(name)
      if (bound?.scope !== 'strong') continue
      for (const node of nodes.values()) {
        if (!node.isReady || machine.sessions.get(node.session) === undefined) continue
        const seen = node.cache.lookup(name)?.pid ?? node.local.get(name)
        if (seen !== undefined && seen !== bound.pid) {
          throw broken(`${name} is strong for ${bound.pid}, and ${node.name} resolves it to ${seen} (N3)`)
        }
      }
    }
  }

  const apply = (command: Command, session = 0): Outcome => {
    const seq = session === 0 ? 0 : (seqs.get(session) ?? 0) + 1
    if (session !== 0) seqs.set(session, seq)
    const before = new Map(NAMES.map((name) => [name, machine.names.reservation(name)]))
    const data = encodeCommands([{ session, seq, floor: seq, command }])
    const entry = { index: machine.index + 1, clockMs: Math.floor(world.nowMs), kind: 'commands', data } as const
    const { outcomes, events } = machine.apply(entry)
    for (const event of events) {
      if (event.kind === 'strong-ended') {
        if (event.active) report.active++
        const missing = [...(before.get(event.name)?.required ?? [])].filter(
          (each) => before.get(event.name)?.acked.has(each) !== true && machine.sessions.get(each) !== undefined,
        )
        const asked = command.kind === 'strong-ack' ? command.sessions : []
        if (event.active && missing.some((each) => !asked.includes(each)))
          throw broken(`${event.name} went unasked (N4)`)
      }
      for (const node of nodes.values()) {
        if (event.kind === 'binding') {
          later(3000, () => {
            if (node.cache.apply(event) && event.scope === 'strong' && event.pid !== undefined) {
              node.exclusions.activated(event.name, event.revision)
            }
            check()
          })
        } else if (event.kind === 'strong-ended' && !event.active) {
          later(3000, () => node.exclusions.released(event.name, event.revision))
        }
      }
    }
    check()
    return outcomes[0] as Outcome
  }

  const start = (name: string): void => {
    const command = { kind: 'node-up', node: name, epoch: epoch++, role: 'client' } as const
    const outcome = apply(command)
    if (outcome.status !== 'session') throw broken(`${name} got no session`)
    const node: StrongNode = {
      name,
      epoch: command.epoch,
      session: outcome.session,
      cache: new BindingCache(),
      exclusions: new Exclusions(),
      local: new Map(),
      isReady: false,
    }
    nodes.set(name, node)
    if (chance.chance(0.5)) node.local.set(chance.pick(NAMES), pidOf(node))
    later(1000, () => {
      // The barrier: what the log has at this moment.
      for (const each of bug === 'no-barrier' ? [] : NAMES) {
        const reservation = machine.names.reservation(each)
        const bound = machine.names.lookup(each)
        if (reservation !== undefined) node.exclusions.install({ name: each, ...reservation }, world.nowMs)
        if (bound !== undefined) node.cache.apply({ name: each, ...bound })
        const owner = reservation?.pid ?? (bound?.scope === 'strong' ? bound.pid : undefined)
        if (owner !== undefined && node.local.get(each) !== owner) node.local.delete(each)
      }
      node.isReady = true
      check()
    })
  }

  const ask = (node: StrongNode, question: Check): void => {
    const bound = node.cache.lookup(question.name)
    const known = {
      eventual: undefined,
      local: node.local.get(question.name),
      activeRevision: bound?.scope === 'strong' ? bound.revision : 0,
    }
    const answer = node.exclusions.check(question, known, world.nowMs)
    const { name, revision } = question
    if (answer.kind === 'ack') {
      node.cache.forget(name, revision)
      if (bug === 'forgets') node.exclusions.released(name, revision)
      later(800, () => apply({ kind: 'strong-ack', name, revision, sessions: [node.session] }))
    } else if (answer.kind === 'reject') {
      report.rejected++
      later(800, () => apply({ kind: 'strong-reject', name, revision, session: node.session, holder: answer.holder }))
    }
  }

  const lead = (): void => {
    for (const name of machine.names.reservations()) {
      const { pid, revision, required, acked } = machine.names.reservation(name) ?? { required: [], acked: new Set() }
      for (const session of required) {
        const node = [...nodes.values()].find((each) => each.session === session)
        if (acked.has(session) || node === undefined || chance.chance(0.3)) continue
        const question = { name, pid: pid ?? '', revision: revision ?? 0 }
        for (let copies = chance.chance(0.1) ? 2 : 1; copies > 0; copies--) {
          later(1500, () => {
            if (nodes.get(node.name) === node) ask(node, question)
          })
        }
      }
    }
    const dueMs = machine.nextExpiryMs
    if (dueMs !== undefined && dueMs <= world.nowMs) {
      report.expired++
      machine.apply({ index: machine.index + 1, clockMs: Math.floor(world.nowMs), kind: 'tick' })
    }
    for (const node of nodes.values()) {
      for (const due of node.exclusions.due(world.nowMs)) {
        const isPending = machine.names.reservation(due.name)?.revision === due.revision
        node.exclusions.told(due, isPending ? 'pending' : 'unknown', world.nowMs)
        const bound = machine.names.lookup(due.name)
        if (!isPending && bound !== undefined) node.cache.apply({ name: due.name, ...bound })
      }
    }
    world.after(500, lead)
  }

  for (let i = 1; i <= count; i++) start(`n${i}`)
  lead()
  for (const endMs = minutes * 60_000; world.nowMs < endMs; world.run(chance.between(1, 400))) {
    const node = chance.pick([...nodes.values()])
    const name = chance.pick(NAMES)
    const dice = chance.fraction()
    if (dice < 0.3) apply({ kind: 'strong-open', name, pid: pidOf(node), ttlMs: 10_000 }, node.session)
    else if (dice < 0.4) apply({ kind: 'register', name, pid: pidOf(node) }, node.session)
    else if (dice < 0.5) apply({ kind: 'proc-down', pids: [pidOf(node)] }, node.session)
    else if (dice < 0.6) {
      const scope = chance.pick(['consistent', 'strong'] as const)
      const bound = machine.names.lookup(name)
      apply({ kind: 'unregister', name, pid: bound?.pid ?? pidOf(node), scope }, node.session)
    } else if (dice < 0.8 && node.isReady) {
      const pid = pidOf(node)
      const holders = {
        global: node.cache.lookup(name)?.pid,
        reserved: node.exclusions.reservedFor(name),
        eventual: undefined,
        local: node.local.get(name),
      }
      if (holders.local === undefined && holderAgainst('local', pid, holders) === undefined) node.local.set(name, pid)
    } else if (dice < 0.97) node.local.delete(name)
    else start(node.name)
    check()
    report.steps++
  }
  return report
}
