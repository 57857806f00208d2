// Whether a history of operations on one object could have happened one after the other, each at some moment between its call
// and its return. The search of Wing and Gong (1993) with Lowe's cache of states already seen (2017): try each operation that
// may come next, undo when stuck, never explore the same set of done operations in the same state twice.

export interface Operation<Call, Result> {
  readonly client: string
  readonly call: Call
  readonly calledMs: number
  /** Absent: the outcome is unknown; it may have happened at any time after the call, or never. */
  readonly returned?: { readonly atMs: number; readonly result: Result }
}

/** The object as it should be. States are values: `key` tells equal ones. */
export interface Model<State, Call, Result> {
  readonly initial: State
  /** The state after `call`, or undefined when `call` cannot answer `result` in `state`. No result: any will do. */
  step(state: State, call: Call, result: Result | undefined): State | undefined
  key(state: State): string
  /** Whether `call`, answered with `result`, leaves every state as it is, but for what it tells of one that was not fully known. */
  isRead(call: Call, result: Result): boolean
}

type Verdict<Call, Result> =
  | { readonly ok: true }
  /** The longest order that was found, and what could not follow it. */
  | {
      readonly ok: false
      readonly order: readonly Operation<Call, Result>[]
      readonly stuck: readonly Operation<Call, Result>[]
      /** There was more to try than was allowed: nothing is known. */
      readonly isUndecided?: true
    }

interface Node<Call, Result> {
  /** Its place in the history; -1 for the head of a list. */
  readonly at: number
  readonly atMs: number
  readonly operation: Operation<Call, Result>
  readonly isCall: boolean
  /** The return of a call. */
  match: Node<Call, Result> | undefined
  previous: Node<Call, Result> | undefined
  next: Node<Call, Result> | undefined
}

/**
 * Searches an order. Returns come after calls of the same moment: what touches may overlap.
 * @param options.statesMax how much it may try; without, as much as there is
 */
export function checkLinearizable<State, Call, Result>(
  history: readonly Operation<Call, Result>[],
  model: Model<State, Call, Result>,
  { statesMax = Number.POSITIVE_INFINITY }: { readonly statesMax?: number } = {},
): Verdict<Call, Result> {
  // Those without an answer are tried last: they fit everywhere, and most of what could be tried with them leads nowhere.
  const answered = eventsOf(history, true)
  const unanswered = eventsOf(history, false)
  const isDone = new Uint8Array(history.length)
  const seen = new Set<string>()
  const stack: { node: Node<Call, Result>; state: State; isFree: boolean }[] = []
  let remaining = history.filter((operation) => operation.returned !== undefined).length
  let state = model.initial
  let best: readonly Operation<Call, Result>[] = []
  let stuck: readonly Operation<Call, Result>[] = []
  let node = answered.next
  while (remaining > 0) {
    const end = firstReturn(answered)
    if (node !== undefined && !node.isCall) node = unanswered.next
    if (node === undefined || node.atMs > end.atMs) {
      // The return of an operation that has not happened is reached: what was done last was wrong.
      if (stack.length >= best.length) {
        best = stack.map((step) => step.node.operation)
        stuck = callsBefore(answered, end)
      }
      for (;;) {
        const last = stack.pop()
        if (last === undefined) return { ok: false, order: best, stuck }
        isDone[last.node.at] = 0
        if (last.node.operation.returned !== undefined) remaining++
        state = last.state
        unlift(last.node)
        node = last.node.next
        // What changed nothing could as well have stayed: nothing else is worth trying in its place.
        if (!last.isFree) break
      }
      continue
    }
    const { operation, at } = node
    const after = model.step(state, operation.call, operation.returned?.result)
    if (after !== undefined) {
      isDone[at] = 1
      const key = `${Buffer.from(isDone.buffer).toString('latin1')}\n${model.key(after)}`
      if (!seen.has(key)) {
        if (seen.size >= statesMax) return { ok: false, order: best, stuck, isUndecided: true }
        seen.add(key)
        const isRead = operation.returned !== undefined && model.isRead(operation.call, operation.returned.result)
        const isFree = isRead && model.key(after) === model.key(state)
        stack.push({ node, state, isFree })
        state = after
        lift(node)
        if (operation.returned !== undefined) remaining--
        node = answered.next
        continue
      }
      isDone[at] = 0
    }
    node = node.next
  }
  return { ok: true }
}

/** A list of calls and returns in the order of time, behind a head: of the operations with an answer, or of the others. */
function eventsOf<Call, Result>(history: readonly Operation<Call, Result>[], isAnswered: boolean): Node<Call, Result> {
  const nodes: Node<Call, Result>[] = []
  for (const [at, operation] of history.entries()) {
    const { calledMs, returned } = operation
    if ((returned !== undefined) !== isAnswered) continue
    const links = { match: undefined, previous: undefined, next: undefined }
    const call: Node<Call, Result> = { at, atMs: calledMs, operation, isCall: true, ...links }
    nodes.push(call)
    if (returned === undefined) continue
    call.match = { at, atMs: returned.atMs, operation, isCall: false, ...links }
    nodes.push(call.match)
  }
  nodes.sort((a, b) => a.atMs - b.atMs || Number(b.isCall) - Number(a.isCall))
  const head = { at: -1, atMs: Number.NEGATIVE_INFINITY, isCall: false } as Node<Call, Result>
  let last = head
  for (const node of nodes) {
    last.next = node
    node.previous = last
    last = node
  }
  return head
}

function firstReturn<Call, Result>(head: Node<Call, Result>): Node<Call, Result> {
  let node = head.next
  while (node?.isCall === true) node = node.next
  return node as Node<Call, Result>
}

/** Takes a call and its return out of the list. */
function lift<Call, Result>(node: Node<Call, Result>): void {
  for (const each of [node, node.match]) {
    if (each === undefined) continue
    if (each.previous !== undefined) each.previous.next = each.next
    if (each.next !== undefined) each.next.previous = each.previous
  }
}

/** Puts them back, in the opposite order. */
function unlift<Call, Result>(node: Node<Call, Result>): void {
  for (const each of [node.match, node]) {
    if (each === undefined) continue
    if (each.previous !== undefined) each.previous.next = each
    if (each.next !== undefined) each.next.previous = each
  }
}

function callsBefore<Call, Result>(head: Node<Call, Result>, end: Node<Call, Result>): Operation<Call, Result>[] {
  const calls: Operation<Call, Result>[] = []
  for (let node = head.next; node !== undefined && node !== end; node = node.next) {
    if (node.isCall) calls.push(node.operation)
  }
  return calls
}
