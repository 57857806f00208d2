// The invariants of the versioned store, V1 and V2 of cluster.md §13. V1 looks for an order of the recorded operations of a key that
// explains every answer and does not contradict time: Wing & Gong, with Lowe's memory of what was tried.

import { InvariantError } from './invariant-error.ts'

export type KvAction =
  | { readonly kind: 'get' }
  /** `ifVersion` 0: only if absent. Values differ from write to write. */
  | { readonly kind: 'put'; readonly value: string; readonly ifVersion?: number }
  | { readonly kind: 'delete'; readonly ifVersion?: number }

export type KvAnswer =
  | { readonly kind: 'found'; readonly value: string; readonly version: number }
  /** Nothing was read, or there was nothing to delete. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'written'; readonly version: number }
  /** A condition did not hold; `version` of what is there, absent when nothing is. */
  | { readonly kind: 'refused'; readonly version?: number }
  /** It may have happened, or may yet. */
  | { readonly kind: 'unknown' }

export interface KvOperation {
  readonly client: string
  readonly key: string
  readonly action: KvAction
  readonly answer: KvAnswer
  readonly invokedAtMs: number
  /** Infinity for one whose answer is unknown. */
  readonly answeredAtMs: number
}

interface State {
  /** Undefined: the key is absent. */
  readonly value: string | undefined
  /** Undefined: of a write whose answer was lost, until somebody sees it. */
  readonly version: number | undefined
  /** Versions only rise. */
  readonly latest: number
}

const ABSENT: State = { value: undefined, version: undefined, latest: 0 }

/** V1 for the operations of single keys. @throws InvariantError naming the key and its history */
export function checkLinearizable(operations: readonly KvOperation[], seed: number): void {
  const byKey = new Map<string, KvOperation[]>()
  for (const operation of operations) {
    // A read without an answer says nothing.
    if (operation.action.kind === 'get' && operation.answer.kind === 'unknown') continue
    const history = byKey.get(operation.key) ?? []
    byKey.set(operation.key, history)
    history.push(operation)
  }
  for (const [key, history] of byKey) {
    if (isLinearizable(history)) continue
    const told = history
      .toSorted((a, b) => a.invokedAtMs - b.invokedAtMs)
      .map(
        (each) =>
          `${each.invokedAtMs}..${each.answeredAtMs} ${each.client} ${JSON.stringify([each.action, each.answer])}`,
      )
    throw new InvariantError(`no order of these explains ${key} (V1); seed ${seed}\n${told.join('\n')}`)
  }
}

/** Depth first; each set of operations is tried once with each state that it led to. */
function isLinearizable(history: readonly KvOperation[]): boolean {
  const operations = history.toSorted((a, b) => a.invokedAtMs - b.invokedAtMs)
  const tried = new Set<string>()
  const stack: { done: bigint; state: State }[] = [{ done: 0n, state: ABSENT }]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { done, state } = next
    const id = `${done.toString(36)} ${state.value} ${state.version} ${state.latest}`
    if (tried.has(id)) continue
    tried.add(id)
    let mayEnd = true
    let earliestAnswerMs = Number.POSITIVE_INFINITY
    const open: number[] = []
    for (const [i, { invokedAtMs, answeredAtMs, answer }] of operations.entries()) {
      if (invokedAtMs > earliestAnswerMs) {
        mayEnd &&= answer.kind === 'unknown'
        break
      }
      if (((done >> BigInt(i)) & 1n) === 1n) continue
      open.push(i)
      if (answer.kind === 'unknown') continue
      mayEnd = false
      earliestAnswerMs = Math.min(earliestAnswerMs, answeredAtMs)
    }
    if (mayEnd) return true
    for (const i of open) {
      const operation = operations[i] as KvOperation
      if (operation.invokedAtMs > earliestAnswerMs) continue
      for (const after of outcomesOf(state, operation)) stack.push({ done: done | (1n << BigInt(i)), state: after })
    }
  }
  return false
}

/** The states in which the operation may leave the key, with this answer; none when the answer is not possible. */
function outcomesOf(state: State, { action, answer }: KvOperation): State[] {
  const isPresent = state.value !== undefined
  switch (answer.kind) {
    case 'found':
      return state.value === answer.value ? seen(state, answer.version) : []
    case 'absent':
      return isPresent ? [] : [state]
    case 'refused':
      if (answer.version === undefined) return isPresent ? [] : [state]
      if (action.kind === 'get' || action.ifVersion === undefined || action.ifVersion === answer.version) return []
      return isPresent ? seen(state, answer.version) : []
    case 'written': {
      if (answer.version <= state.latest || action.kind === 'get') return []
      if (!holds(state, action.ifVersion) || (action.kind === 'delete' && !isPresent)) return []
      return [afterWrite(action, answer.version, answer.version)]
    }
    case 'unknown':
      if (action.kind === 'get') return [state]
      // It happened, with a version that nobody was told, or it did not hold or never arrived: then the state is as it was.
      return holds(state, action.ifVersion) ? [afterWrite(action, undefined, state.latest), state] : [state]
  }
}

function afterWrite(action: Exclude<KvAction, { kind: 'get' }>, version: number | undefined, latest: number): State {
  if (action.kind === 'delete') return { value: undefined, version: undefined, latest }
  return { value: action.value, version, latest }
}

function holds(state: State, ifVersion: number | undefined): boolean {
  if (ifVersion === undefined) return true
  if (ifVersion === 0) return state.value === undefined
  // A version that nobody was told may be the one that was asked for only if it was seen, and then it is known.
  return state.value !== undefined && state.version === ifVersion
}

/** Somebody was told the version of what is there. */
function seen(state: State, version: number): State[] {
  if (state.version === undefined) return version > state.latest ? [{ ...state, version, latest: version }] : []
  return state.version === version ? [state] : []
}

/** What a list returned: all keys of a prefix in a range, with their versions. */
interface KvPageSeen {
  readonly keys: ReadonlyMap<string, number>
  /** Whether a key belongs to the range of the page. */
  covers(key: string): boolean
}

/** A write as its answer told it; a delete leaves nothing. */
export interface KvWrite {
  readonly key: string
  readonly version: number
  readonly isDelete: boolean
}

/**
 * V1 for lists: there is a moment at which the keys were like this. It is not before the newest write on the page, nor before the delete of
 * a key that was there and is not on the page; up to it the page must show the last write of each key.
 */
export function checkCut(page: KvPageSeen, writes: readonly KvWrite[], seed: number): void {
  const covered = writes.filter(({ key }) => page.covers(key)).toSorted((a, b) => a.version - b.version)
  let cut = Math.max(0, ...page.keys.values())
  for (let before = -1; before !== cut; ) {
    before = cut
    for (const [key, last] of lastWrites(covered, cut)) {
      const shown = page.keys.get(key)
      if (shown === undefined && !last.isDelete) {
        // What is not there must have been deleted since.
        const gone = covered.find((each) => each.key === key && each.isDelete && each.version > last.version)
        if (gone !== undefined) cut = Math.max(cut, gone.version)
        else throw wrongPage(cut, undefined, last, seed)
      } else if (shown !== undefined && shown < last.version) throw wrongPage(cut, shown, last, seed)
    }
  }
}

function lastWrites(writes: readonly KvWrite[], cut: number): Map<string, KvWrite> {
  return new Map(writes.filter(({ version }) => version <= cut).map((each) => [each.key, each]))
}

function wrongPage(cut: number, shown: number | undefined, { key, version }: KvWrite, seed: number): InvariantError {
  const what = shown === undefined ? 'nothing' : `version ${shown}`
  return new InvariantError(
    `a page as of ${cut} or later shows ${what} of ${key}, written in ${version} (V1); seed ${seed}`,
  )
}

export type WatchSeen =
  | { readonly kind: 'change'; readonly key: string; readonly version: number }
  /** The watcher listed anew, as of this version. */
  | { readonly kind: 'resync'; readonly version: number }

/**
 * V2: what a watcher was told is every change of its prefix after `from`, in order, once; or it was told to list again.
 * @param changes of the prefix, in the order of the log  @param isCaughtUp nothing is on its way to the watcher any more
 */
export function checkWatch(
  told: readonly WatchSeen[],
  changes: readonly { readonly key: string; readonly version: number }[],
  from: number,
  isCaughtUp: boolean,
  seed: number,
): void {
  let at = changes.findIndex(({ version }) => version > from)
  if (at < 0) at = changes.length
  for (const each of told) {
    if (each.kind === 'resync') {
      const next = changes.findIndex(({ version }) => version > each.version)
      at = next < 0 ? changes.length : next
      continue
    }
    const expected = changes[at++]
    if (expected?.key === each.key && expected.version === each.version) continue
    const was = expected === undefined ? 'nothing' : `${expected.key} in ${expected.version}`
    throw new InvariantError(
      `a watcher is told ${each.key} in ${each.version}, and ${was} came next (V2); seed ${seed}`,
    )
  }
  if (!isCaughtUp || at >= changes.length) return
  throw new InvariantError(
    `a watcher was not told of ${changes[at]?.key} in ${changes[at]?.version} (V2); seed ${seed}`,
  )
}
