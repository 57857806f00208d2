// Writes down what a suspended process reaches (docs/internals/lua-engine.md, "Saving a process"). Everything with an identity becomes a node,
// found breadth first, so that the path which an error names is a short one. Of a frame only the registers count that its code still asks
// for. The process is not changed, and does not run meanwhile.

import { toText } from '../../base/bytes.ts'
import { MoonmeshError } from '../../base/errors.ts'
import { ErrorValue, Float, TableValue, type Value } from '../../base/value.ts'
import { ValueWriter, WireError } from '../../relay/wire/values.ts'
import {
  CannotSave,
  ErrorObject,
  type HostClass,
  HostObject,
  type LuaValue,
  type Parts,
  type SharedThings,
} from '../engine.ts'
import { compiledHash, KIND, LONG_STRING_MIN, LOOPS, STATUS, WAITS } from './heap-form.ts'
import { CONTINUATIONS, Wrap } from './lib-base.ts'
import { GlobalMatch } from './lib-string.ts'
import { BOX, DEAD, Liveness, LOOP, LOOP_REST } from './liveness.ts'
import type { Proto } from './proto.ts'
import { Table } from './table.ts'
import { Box, Closure, Coroutine, type Frame, LUA, NATIVE, Native, PCALL, Root, type Val, XPCALL } from './value.ts'

/** What the saver asks of the engine. */
interface SavingEngine {
  classOf(className: string): HostClass | undefined
  /** The shared table of globals behind a metatable of globals. */
  globalsBehind(meta: Table): Table | undefined
}

type Item = Val | Box | TableValue | ErrorValue
type Node = object | string
/** How one thing leads to another, with a key, an index or a name. */
type Step = 'value' | 'key' | 'metatable' | 'upvalue' | 'register' | 'vararg' | 'body' | 'coroutine' | 'held' | 'root'
type Visit = (item: Item, step: Step, at: Val) => void

const NODES_MAX = 2 ** 32

export class Saver {
  readonly #engine: SavingEngine
  readonly #shared: SharedThings
  readonly #owner: unknown
  readonly #root: Parts & { names: readonly string[] }
  readonly #writer: ValueWriter
  readonly #numbers = new Map<Node, number>()
  readonly #nodes: Node[] = []
  readonly #kinds: string[] = []
  /** Of each node the one that led to it; -1: the root. */
  readonly #parents: number[] = []
  readonly #names: string[] = []
  readonly #parts = new Map<HostObject, Parts>()
  readonly #liveness = new Map<Proto, Liveness>()
  readonly #protos = new Map<Proto, { code: number; path: readonly number[] }>()
  /** Coroutines whose current function goes on by itself. */
  readonly #running = new Set<Coroutine>()
  /** Coroutines that a thread of the scheduler waits for. */
  readonly #chained = new Set<Coroutine>()
  /** Where the node being looked at stands. */
  #current = -1

  constructor(
    engine: SavingEngine,
    shared: SharedThings,
    owner: unknown,
    root: Parts & { names: readonly string[] },
    bytesMax: number,
  ) {
    this.#engine = engine
    this.#shared = shared
    this.#owner = owner
    this.#root = root
    this.#writer = new ValueWriter(bytesMax)
  }

  /** @throws MoonmeshError */
  capture(): Uint8Array {
    for (const [code, { code: chunk }] of this.#shared.codes.entries()) this.#name(chunk as unknown as Proto, code, [])
    for (const value of this.#root.values) this.#noteThread(value as Val)
    this.#find()
    try {
      this.#write()
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      throw new MoonmeshError('LimitExceeded', `cannot save process: ${error.message}`, {
        retryable: false,
        cause: error,
      })
    }
    return this.#writer.finish()
  }

  #name(proto: Proto, code: number, path: readonly number[]): void {
    this.#protos.set(proto, { code, path })
    for (const [i, inner] of proto.protos.entries()) this.#name(inner, code, [...path, i])
  }

  #noteThread(value: Val): void {
    if (!(value instanceof Root) || value.status === 'dead') return
    if (value.isStarted && value.waitsFor === 'preempted') this.#running.add(value.active)
    for (const each of chainOf(value)) this.#chained.add(each)
  }

  // ---- finding

  #find(): void {
    this.#edgesOfRoot((item, step, at) => this.#reach(item, step, at))
    for (let i = 0; i < this.#nodes.length; i++) {
      this.#current = i
      this.#edges(this.#nodes[i] as Node, this.#kinds[i] as string, (item, step, at) => this.#reach(item, step, at))
    }
  }

  #reach(item: Item, step: Step, at: Val): void {
    if (typeof item === 'string') {
      if (item.length >= LONG_STRING_MIN && !this.#numbers.has(item)) this.#add(item, KIND.STRING)
      return
    }
    if (typeof item !== 'object' || item instanceof Float || this.#numbers.has(item)) return
    const kind = this.#kindOf(item)
    if (kind instanceof CannotSave) throw this.#refusal(kind, step, at)
    this.#add(item, kind)
  }

  #add(node: Node, kind: string): void {
    if (this.#nodes.length >= NODES_MAX) throw new WireError('too many objects')
    this.#numbers.set(node, this.#nodes.length)
    this.#nodes.push(node)
    this.#kinds.push(kind)
    this.#parents.push(this.#current)
  }

  #kindOf(item: object): string | CannotSave {
    if (item instanceof Box) return KIND.BOX
    if (item instanceof TableValue) return KIND.DATA
    if (item instanceof ErrorValue) return KIND.ERROR
    if (item instanceof Closure) {
      return this.#protos.has(item.proto) ? KIND.CLOSURE : new CannotSave(`a function of ${item.proto.chunkName}`)
    }
    if (item instanceof Coroutine) return this.#coroutineKind(item)
    if (item instanceof Table && this.#engine.globalsBehind(item) !== undefined) {
      return (
        this.#sharedKind(this.#engine.globalsBehind(item) as Table, KIND.GLOBALS) ?? new CannotSave('foreign globals')
      )
    }
    const shared = this.#sharedKind(item as Val, KIND.SHARED)
    if (shared !== undefined) return shared
    if (item instanceof Table) return KIND.TABLE
    if (item instanceof Wrap) return KIND.WRAP
    if (item instanceof GlobalMatch) return KIND.GLOBAL_MATCH
    if (item instanceof Native) return new CannotSave(`the function '${item.name}', which belongs to one object`)
    if (item instanceof ErrorObject) return KIND.ERROR_OBJECT
    if (item instanceof HostObject) return this.#objectKind(item)
    return new CannotSave('a value of an unknown kind')
  }

  #sharedKind(item: Val, kind: string): string | undefined {
    const name = this.#shared.nameOf(item as LuaValue)
    if (name === undefined) return undefined
    this.#names.push(name)
    return kind
  }

  #coroutineKind(co: Coroutine): string | CannotSave {
    if (co.barriers > 0) return new CannotSave('a coroutine inside a callback of a library function')
    const runs = co.status === 'running' || co.status === 'normal'
    if (runs && !this.#chained.has(co)) return new CannotSave('a coroutine that runs')
    return co instanceof Root ? KIND.ROOT : KIND.COROUTINE
  }

  #objectKind(object: HostObject): string | CannotSave {
    const saving = this.#engine.classOf(object.className)?.saving
    if (saving === undefined || typeof saving === 'string')
      return new CannotSave(saving ?? `an object of class ${object.className}`)
    const parts = saving.save(object, this.#owner)
    if (parts instanceof CannotSave) return parts
    this.#parts.set(object, parts)
    return KIND.OBJECT
  }

  // ---- what leads where

  #edgesOfRoot(visit: Visit): void {
    for (const [i, value] of this.#root.values.entries()) visit(value as Val, 'root', i)
    for (const value of this.#root.data) visit(value as Item, 'value', undefined)
  }

  #edges(node: Node, kind: string, visit: Visit): void {
    switch (kind) {
      case KIND.DATA: {
        const { array, keys, values } = node as TableValue
        for (const item of array) visit(item as Item, 'value', undefined)
        for (const item of keys) visit(item as Item, 'value', undefined)
        for (const item of values) visit(item as Item, 'value', undefined)
        return
      }
      case KIND.ERROR: {
        const { message, stack, details } = node as ErrorValue
        visit(message, 'value', undefined)
        visit(stack, 'value', undefined)
        return visit(details, 'value', undefined)
      }
      case KIND.ERROR_OBJECT:
        return visit((node as ErrorObject).error, 'value', undefined)
      case KIND.OBJECT: {
        const { data, values } = this.#parts.get(node as HostObject) as Parts
        for (const item of data) visit(item as Item, 'value', undefined)
        for (const item of values) visit(item as Val, 'held', undefined)
        return
      }
      case KIND.TABLE:
        return this.#edgesOfTable(node as Table, visit)
      case KIND.CLOSURE: {
        for (const [i, box] of (node as Closure).up.entries()) visit(box, 'upvalue', i)
        return
      }
      case KIND.BOX:
        return visit((node as Box).v, 'value', undefined)
      case KIND.WRAP:
        return visit((node as Wrap).held, 'coroutine', undefined)
      case KIND.GLOBAL_MATCH: {
        const { source, pattern } = node as GlobalMatch
        visit(source, 'value', undefined)
        return visit(pattern, 'value', undefined)
      }
      case KIND.COROUTINE:
      case KIND.ROOT:
        return this.#edgesOfCoroutine(node as Coroutine, visit)
    }
  }

  #edgesOfTable(table: Table, visit: Visit): void {
    const { list, names, fields, keys, values } = table.parts()
    visit(table.meta, 'metatable', undefined)
    for (let i = 1; i < list.length; i++) visit(list[i], 'value', i)
    for (let i = 1; i < names.length; i++) visit(fields[i], 'value', names[i])
    for (let i = 1; i < keys.length; i++) {
      // A key without a value counts only if somebody else knows it.
      if (values[i] === undefined) continue
      visit(keys[i], 'key', keys[i])
      visit(values[i], 'value', keys[i])
    }
  }

  #edgesOfCoroutine(co: Coroutine, visit: Visit): void {
    const status = this.#statusOf(co)
    if (co instanceof Root && status === STATUS.CHAINED)
      for (const each of chainOf(co)) if (each !== co) visit(each, 'coroutine', undefined)
    if (status === STATUS.FRESH) visit(co.S[1], 'body', undefined)
    if (status === STATUS.FRESH || status === STATUS.DEAD) return
    for (let i = 1; i <= co.depth; i++) {
      const frame = co.frames[i] as Frame
      if (frame.kind !== LUA) {
        if (frame.kind === XPCALL || frame.kind === NATIVE) visit(frame.extra, 'value', undefined)
        continue
      }
      visit(frame.fn, 'register', i)
      for (const value of frame.varargs) visit(value, 'vararg', i)
      this.#eachRegister(co, i, (value) => visit(value as Item, 'register', i))
    }
  }

  #statusOf(co: Coroutine): number {
    if (co.status === 'dead') return STATUS.DEAD
    if (this.#chained.has(co)) return co instanceof Root && !co.isStarted ? STATUS.FRESH : STATUS.CHAINED
    return co.depth === 0 ? STATUS.FRESH : STATUS.WAITING
  }

  /** The registers of a frame that matter, and then whatever stands open behind them. */
  #eachRegister(co: Coroutine, depth: number, visit: (value: Val, holds: number) => void): void {
    const frame = co.frames[depth] as Frame
    const { S } = co
    const { row, openFrom } = this.#registersOf(co, depth, frame)
    const end = openFrom ?? row.length
    for (let r = 0; r < end; r++) {
      const holds = row[r] as number
      if (holds !== DEAD) visit(S[frame.base + r], holds)
    }
  }

  #registersOf(co: Coroutine, depth: number, frame: Frame): { row: Uint8Array; openFrom: number | undefined } {
    const { proto } = frame.fn as Closure
    const liveness = this.livenessOf(proto)
    const isRunning = depth === co.depth && this.#running.has(co)
    const row = isRunning ? liveness.before(frame.pc) : liveness.waiting(frame.pc, frame.extra)
    if (row === undefined)
      throw new Error(`instruction ${frame.pc} of ${proto.chunkName}:${proto.line} waits for nothing`)
    return { row, openFrom: isRunning ? liveness.openFrom(frame.pc) : undefined }
  }

  livenessOf(proto: Proto): Liveness {
    let known = this.#liveness.get(proto)
    if (known === undefined) {
      known = new Liveness(proto)
      this.#liveness.set(proto, known)
    }
    return known
  }

  // ---- what an error says

  #refusal({ why, isBusy }: CannotSave, step: Step, at: Val): MoonmeshError {
    let from = ''
    let path = ''
    let node = this.#current
    let how: { step: Step; at: Val } | undefined = { step, at }
    while (how !== undefined) {
      const { text, isWhole } = this.#stepText(node, how.step, how.at)
      if (isWhole) from = text
      else path = text + path
      if (isWhole || node < 0) break
      const child = this.#nodes[node] as Node
      node = this.#parents[node] as number
      how = this.#stepTo(node, child)
    }
    const where = toText(`${from} ${path.trimStart()}`.trim())
    return new MoonmeshError(isBusy ? 'Unavailable' : 'Invalid', `cannot save ${where}: ${why}`, {
      retryable: isBusy,
      details: { path: where },
    })
  }

  /** How one node leads to another. */
  #stepTo(node: number, child: Node): { step: Step; at: Val } | undefined {
    let found: { step: Step; at: Val } | undefined
    const visit: Visit = (item, step, at) => {
      if (item === child) found ??= { step, at }
    }
    if (node < 0) this.#edgesOfRoot(visit)
    else this.#edges(this.#nodes[node] as Node, this.#kinds[node] as string, visit)
    return found
  }

  /** @returns isWhole: nothing has to be said before it */
  #stepText(number: number, step: Step, at: Val): { text: string; isWhole: boolean } {
    const node = number < 0 ? undefined : this.#nodes[number]
    if (step === 'root') return { text: this.#root.names[at as number] ?? 'the process', isWhole: true }
    if (step === 'upvalue') {
      const { proto } = node as Closure
      return {
        text: `upvalue '${proto.upvalues[at as number]?.name ?? '_ENV'}' of ${functionName(proto)}`,
        isWhole: true,
      }
    }
    if (step === 'register' || step === 'vararg') {
      const { fn, pc } = (node as Coroutine).frames[at as number] as Frame
      const { proto } = fn as Closure
      const what = step === 'vararg' ? "'...'" : 'a local value'
      return { text: `${what} of ${functionName(proto)} (line ${proto.lines[pc - 1] ?? proto.line})`, isWhole: true }
    }
    if (node instanceof Table) {
      if (step === 'metatable') return { text: ' (its metatable)', isWhole: false }
      if (step === 'key') return { text: ' (a key)', isWhole: false }
      if (node.meta !== undefined && this.#engine.globalsBehind(node.meta) !== undefined)
        return { text: `global '${String(at)}'`, isWhole: true }
      return { text: keyText(at), isWhole: false }
    }
    if (node instanceof HostObject) return { text: ` (in a ${node.className})`, isWhole: false }
    return { text: '', isWhole: false }
  }

  // ---- writing

  #write(): void {
    const writer = this.#writer.start()
    const of = (...kinds: string[]): Node[] => this.#nodes.filter((_, i) => kinds.includes(this.#kinds[i] as string))
    const objects = of(KIND.OBJECT) as HostObject[]
    writer.fields(9).text(this.#kinds.join(''))
    writer.list(of(KIND.STRING) as string[], (text) => writer.text(text))
    writer.list(this.#names, (name) => writer.text(name))
    writer.list(this.#shared.codes, ({ name, hash, code }) =>
      writer
        .fields(3)
        .text(name)
        .text(hash)
        .text(compiledHash(code as unknown as Proto)),
    )
    writer.list(of(KIND.DATA, KIND.ERROR), (node) => this.#data(node as TableValue | ErrorValue))
    writer.list(objects, (object) => {
      writer.fields(2).text(object.className)
      writer.list((this.#parts.get(object) as Parts).data, (value) => this.#cell(value as Item))
    })
    const simple: string[] = [KIND.STRING, KIND.SHARED, KIND.GLOBALS, KIND.DATA, KIND.ERROR, KIND.OBJECT]
    const nodes = this.#nodes.flatMap((node, i) => (simple.includes(this.#kinds[i] as string) ? [] : [node as object]))
    writer.list(nodes, (node) => this.#node(node))
    writer.list(objects, (object) =>
      writer.list((this.#parts.get(object) as Parts).values, (value) => this.#cell(value as Item)),
    )
    writer.fields(2)
    writer.list(this.#root.data, (value) => this.#cell(value as Item))
    writer.list(this.#root.values, (value) => this.#cell(value as Item))
  }

  #cell(item: Item): void {
    if (typeof item === 'string') {
      const number = item.length >= LONG_STRING_MIN ? this.#numbers.get(item) : undefined
      if (number === undefined) this.#writer.text(item)
      else this.#writer.reference(number)
    } else if (typeof item === 'object' && !(item instanceof Float)) {
      const number = this.#numbers.get(item)
      if (number === undefined) throw new Error('met for the first time while it is written')
      this.#writer.reference(number)
    } else this.#writer.value(item as Value)
  }

  #cells(items: readonly Item[], from = 0): void {
    this.#writer.fields(items.length - from)
    for (let i = from; i < items.length; i++) this.#cell(items[i])
  }

  #data(node: TableValue | ErrorValue): void {
    const writer = this.#writer
    if (node instanceof ErrorValue) {
      const { kind, message, retryable, details, stack } = node
      writer.fields(5).text(kind)
      this.#cell(message)
      writer.value(retryable)
      this.#cell(details)
      this.#cell(stack)
      return
    }
    writer.fields(3)
    this.#cells(node.array as Item[])
    this.#cells(node.keys as Item[])
    this.#cells(node.values as Item[])
  }

  #node(node: object): void {
    if (node instanceof Table) this.#table(node)
    else if (node instanceof Closure) this.#closure(node)
    else if (node instanceof Box) this.#cell(node.v)
    else if (node instanceof Coroutine) this.#coroutine(node)
    else if (node instanceof Wrap) this.#cell(node.held)
    else if (node instanceof GlobalMatch) {
      this.#writer.fields(4)
      this.#cell(node.source)
      this.#cell(node.pattern)
      this.#writer.number(node.from).number(node.last)
    } else this.#cell((node as ErrorObject).error)
  }

  #table(table: Table): void {
    const writer = this.#writer
    const { list, isDictionary, names, fields, keys, values } = table.parts()
    writer.fields(6)
    this.#cell(table.meta)
    writer.text(table.frozen)
    this.#cells(list, 1)
    writer.fields((names.length - 1) * 2)
    for (let i = 1; i < names.length; i++) {
      this.#cell(names[i])
      this.#cell(fields[i])
    }
    writer.flag(isDictionary)
    const isKept = (i: number): boolean => values[i] !== undefined || this.#isKnown(keys[i])
    let count = 0
    for (let i = 1; i < keys.length; i++) if (isKept(i)) count++
    writer.fields(count * 2)
    for (let i = 1; i < keys.length; i++) {
      if (!isKept(i)) continue
      this.#cell(keys[i])
      this.#cell(values[i])
    }
  }

  /** A traversal may stand at a key without a value, if anybody still has that key. */
  #isKnown(key: Val): boolean {
    return typeof key !== 'object' || key instanceof Float || this.#numbers.has(key)
  }

  #closure({ proto, up }: Closure): void {
    const { code, path } = this.#protos.get(proto) as { code: number; path: readonly number[] }
    this.#writer.fields(3).number(code)
    this.#writer.list(path, (i) => this.#writer.number(i))
    this.#cells(up)
  }

  #coroutine(co: Coroutine): void {
    const writer = this.#writer
    const status = this.#statusOf(co)
    const isRoot = co instanceof Root
    writer
      .fields(isRoot ? 7 : 3)
      .number(status)
      .flag(co.isWrapped)
    if (status === STATUS.FRESH) this.#cell(co.S[1])
    else if (status === STATUS.DEAD) writer.text(undefined)
    else {
      writer.fields(co.depth)
      for (let i = 1; i <= co.depth; i++) this.#frame(co, i)
    }
    if (!isRoot) return
    writer.flag(co.isMain).flag(co.isStarted).number(WAITS.indexOf(co.waitsFor))
    this.#cells(status === STATUS.CHAINED ? chainOf(co).slice(1) : [])
  }

  /** The base of a frame is told as its distance from the one below. */
  #frame(co: Coroutine, depth: number): void {
    const writer = this.#writer
    const frame = co.frames[depth] as Frame
    const { kind, base, pc, varargs, fn } = frame
    const distance = base - (depth > 1 ? (co.frames[depth - 1] as Frame).base : 0)
    if (kind !== LUA) {
      writer.fields(kind === PCALL ? 2 : kind === XPCALL ? 3 : kind === NATIVE ? 4 : 2)
      writer.number(kind).number(distance)
      if (kind === NATIVE) writer.text(nameOfContinuation(frame))
      if (kind === XPCALL || kind === NATIVE) this.#cell(frame.extra)
      return
    }
    const { openFrom } = this.#registersOf(co, depth, frame)
    const isRunning = depth === co.depth && this.#running.has(co)
    const liveness = this.livenessOf((fn as Closure).proto)
    const keepsExtra = !isRunning && (liveness.isConcat(pc) || liveness.isComparison(pc))
    writer.fields(8).number(kind).number(distance)
    this.#cell(fn)
    writer.number(pc)
    this.#cell(keepsExtra ? frame.extra : undefined)
    this.#cells(varargs)
    const cells: [Val, number][] = []
    this.#eachRegister(co, depth, (value, holds) => cells.push([value, holds]))
    writer.fields(cells.length)
    for (let i = 0; i < cells.length; i++) {
      const [value, holds] = cells[i] as [Val, number]
      if (holds === LOOP) this.#loop(value, cells[i + 1]?.[0], cells[i + 2]?.[0])
      else if (holds === LOOP_REST) writer.text(undefined)
      else if (holds === BOX && !((value as unknown) instanceof Box)) throw new Error('a variable without its box')
      else this.#cell(value)
    }
    this.#cells(openFrom === undefined ? [] : co.S.slice(base + openFrom, co.top))
  }

  /** These are no values of the script: a float may look like an integer, an integer be larger than need be. */
  #loop(from: Val, to: Val, step: Val): void {
    const writer = this.#writer.fields(4)
    if (typeof step === 'bigint') {
      writer.number(LOOPS.LARGE)
      for (const each of [from, to, step]) writer.value(each as bigint)
    } else if (step instanceof Float) {
      writer.number(LOOPS.FLOAT)
      for (const each of [from, to, step.value]) writer.value(new Float(each as number))
    } else {
      writer.number(LOOPS.SMALL)
      for (const each of [from, to, step]) writer.value(each as number)
    }
  }
}

/** The thread and the coroutines that it waits for, from the outside in. */
function chainOf(root: Root): Coroutine[] {
  const chain: Coroutine[] = []
  for (let co: Coroutine | undefined = root.active; co !== undefined; co = co === root ? undefined : co.resumer)
    chain.push(co)
  return chain.reverse()
}

function nameOfContinuation({ goOn }: Frame): string {
  const found = Object.entries(CONTINUATIONS).find(([, each]) => each === goOn)
  if (found === undefined) throw new Error('a continuation without a name')
  return found[0]
}

function functionName({ chunkName, line }: Proto): string {
  return line === 0 ? `the main chunk of ${chunkName}` : `function <${chunkName}:${line}>`
}

function keyText(key: Val): string {
  if (typeof key === 'string') return /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
  if (typeof key === 'object' && !(key instanceof Float)) return '[…]'
  return `[${String(key instanceof Float ? key.value : key)}]`
}
