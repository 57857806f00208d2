// The versioned store as clients see it: operations take time to arrive and to be answered, answers are lost, reads come from the
// applied state of the moment. Held against V1 and V2. The log in front of it is raft's part and is tried there.

import type { KvCommand, KvResult } from '../../cluster/kv/core/commands.ts'
import { type KvContext, Versions } from '../../cluster/kv/core/versions.ts'
import { commandOf, packCommand } from '../../cluster/kv/wire/commands.ts'
import { pack, unpack } from '../../runtime/base/msgpack.ts'
import {
  checkCut,
  checkLinearizable,
  checkWatch,
  type KvAction,
  type KvAnswer,
  type KvOperation,
  type KvWrite,
  type WatchSeen,
} from './checkers/kv.ts'
import { World } from './world.ts'

interface KvChaosOptions {
  readonly seed: number
  readonly clients: number
  readonly operations: number
  /** Reads may be answered from the state before this many writes, which is wrong. */
  readonly staleReads?: number
}

const NAMESPACE = 's'
const KEYS = ['a', 'b', 'c']

/** @throws InvariantError @returns how many operations were answered, and how many changes were watched */
export function runKvChaos(options: KvChaosOptions): { answered: number; watched: number } {
  const world = new World(options.seed)
  const { chance } = world
  const versions = new Versions()
  const values = new Map<number, string>()
  const past: Map<string, KvAnswer>[] = []
  const operations: KvOperation[] = []
  const writes: KvWrite[] = []
  const changes: { key: string; version: number }[] = []
  const told: WatchSeen[] = []
  const known = new Map<string, number>()
  let revision = 0
  let values_ = 0
  let answered = 0
  const watch = versions.changes.watch(NAMESPACE, '') as number
  const context: KvContext = { clockMs: 0, nextRevision: () => ++revision, lockToken: () => undefined }
  const read = (key: string): KvAnswer => {
    const item = versions.get(NAMESPACE, key)
    if (item === undefined) return { kind: 'absent' }
    return { kind: 'found', value: values.get(item.version) ?? '', version: item.version }
  }
  const apply = (command: KvCommand): KvResult => {
    past.push(new Map(KEYS.map((key) => [key, read(key)])))
    const { result, effects } = versions.apply(commandOf(unpack(pack(packCommand(command)))), context)
    for (const effect of effects) {
      if (effect.kind === 'put') values.set(effect.stored.version, new TextDecoder().decode(effect.value))
      if (effect.kind === 'free') values.delete(effect.version)
    }
    if (result.ok && result.version !== undefined) {
      const key = command.kind === 'put' ? command.put.key : command.kind === 'delete' ? command.key : ''
      changes.push({ key, version: result.version })
      writes.push({ key, version: result.version, isDelete: command.kind === 'delete' })
    }
    return result
  }
  const perform = (key: string, action: KvAction): KvAnswer => {
    if (action.kind === 'get') {
      const isStale = options.staleReads !== undefined && chance.chance(0.3)
      return (isStale ? past.at(-options.staleReads)?.get(key) : undefined) ?? read(key)
    }
    const fence = undefined
    const { ifVersion } = action
    if (action.kind === 'delete')
      return answerOf(apply({ kind: 'delete', namespace: NAMESPACE, key, ifVersion, fence }))
    const put = { key, value: new TextEncoder().encode(action.value), ttlMs: 0, keepsExpiry: false }
    const condition = ifVersion === undefined ? 'none' : ifVersion === 0 ? 'absent' : { version: ifVersion }
    return answerOf(apply({ kind: 'put', namespace: NAMESPACE, put, condition, fence }))
  }
  const list = (): void => {
    const page = versions.list(NAMESPACE)
    const keys = new Map(page.items.map(({ key, version }) => [key, version]))
    checkCut({ keys, covers: () => true }, writes, options.seed)
  }
  const client = (name: string, left: number): void => {
    if (left === 0) return
    const key = chance.pick(KEYS)
    const invokedAtMs = world.nowMs
    const dice = chance.fraction()
    const version = chance.chance(0.5) ? (known.get(key) ?? 0) : undefined
    const ifVersion = version === undefined ? {} : { ifVersion: version }
    const action: KvAction =
      dice < 0.4
        ? { kind: 'get' }
        : dice < 0.85
          ? { kind: 'put', value: `v${++values_}`, ...ifVersion }
          : { kind: 'delete', ...(version === 0 ? {} : ifVersion) }
    world.after(chance.between(1, 20), () => {
      const isLost = chance.chance(0.05)
      const answer = perform(key, action)
      if (chance.chance(0.1)) list()
      if (chance.chance(0.5)) follow()
      if (isLost) {
        operations.push({
          client: name,
          key,
          action,
          answer: { kind: 'unknown' },
          invokedAtMs,
          answeredAtMs: Number.POSITIVE_INFINITY,
        })
        world.after(50, () => client(name, left - 1))
        return
      }
      world.after(chance.between(1, 20), () => {
        if ('version' in answer && answer.version !== undefined) known.set(key, answer.version)
        answered++
        operations.push({ client: name, key, action, answer, invokedAtMs, answeredAtMs: world.nowMs })
        client(name, left - 1)
      })
    })
  }
  const follow = (): void => {
    const batch = versions.changes.take(watch, 1 + chance.int(5))
    if (batch.kind === 'resync') told.push({ kind: 'resync', version: batch.version })
    else for (const { key, version } of batch.changes) told.push({ kind: 'change', key, version })
  }
  for (let i = 0; i < options.clients; i++) client(`c${i + 1}`, options.operations)
  world.run(options.operations * 200)
  while (versions.changes.ready().length > 0) follow()
  checkLinearizable(operations, options.seed)
  checkWatch(told, changes, 0, true, options.seed)
  return { answered, watched: told.length }
}

function answerOf(result: KvResult): KvAnswer {
  if (!result.ok) return { kind: 'refused', ...(result.version === undefined ? {} : { version: result.version }) }
  return result.version === undefined ? { kind: 'absent' } : { kind: 'written', version: result.version }
}
