// One node of the cluster, over all its runs: a program in a namespace of its own, with a disk of its own, which takes orders on its standard
// input and answers on its standard output.

import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync, createWriteStream, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Disk } from './disk.ts'

/** What a client was asked to do. */
export interface Order {
  readonly op: string
  readonly [field: string]: unknown
}

interface Failure {
  readonly kind: string
  readonly message: string
  readonly ambiguous?: boolean
  readonly version?: string
  readonly existing?: string
}

/** What a client said of an order; fields by what it was. */
export interface Reply {
  readonly pid: string
  /** When it began and ended, by the node's clock, in seconds. */
  readonly t0: number
  readonly t1: number
  readonly err?: Failure
  /** The script failed. */
  readonly failed?: string
  readonly [field: string]: unknown
}

/** What a client said unasked. */
export interface Remark {
  readonly c: string
  readonly ev: string
  readonly pid: string
  readonly [field: string]: unknown
}

/** One run of a node's program. */
export interface Run {
  readonly node: number
  readonly number: number
  readonly startedMs: number
  readyMs?: number
  /** When it was told to end, or found to have ended. */
  endedMs?: number
  /** The node's clock lies so much before that of this program: bounds, milliseconds. */
  offsetLowMs: number
  offsetHighMs: number
}

export type Answer =
  | { readonly kind: 'reply'; readonly reply: Reply; readonly run: Run; readonly sentMs: number; readonly atMs: number }
  /** The run ended before there was an answer. */
  | { readonly kind: 'gone'; readonly run: Run | undefined; readonly sentMs: number }

export interface LogRecord {
  readonly atMs: number
  readonly level: string
  readonly event: string | undefined
  readonly text: string
}

interface NodeOptions {
  readonly index: number
  readonly name: string
  readonly dir: string
  readonly disk: Disk
  readonly main: string
  /** What stands before the program: the way into its namespace. */
  readonly within: () => readonly string[]
  /** The arguments of `run`. */
  readonly args: () => readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly onRemark: (run: Run, remark: Remark, atMs: number) => void
  readonly onLog: (run: Run, record: LogRecord) => void
  /** It ended though nobody told it to. */
  readonly onSurprise: (run: Run, how: string) => void
}

interface Pending {
  readonly done: (answer: Answer) => void
  readonly sentMs: number
}

const PING_MS = 1000

export class ChaosNode {
  readonly options: NodeOptions
  readonly runs: Run[] = []
  #child: ChildProcess | undefined
  #run: Run | undefined
  #pending = new Map<number, Pending>()
  #ended: Promise<void> = Promise.resolve()
  #isExpectedToEnd = false
  #waiting: (() => void)[] = []
  #log: WriteStream | undefined
  #next = 1
  #pinging: NodeJS.Timeout | undefined
  isReady = false

  constructor(options: NodeOptions) {
    this.options = options
  }

  get index(): number {
    return this.options.index
  }

  get name(): string {
    return this.options.name
  }

  get socket(): string {
    return join(this.options.disk.dir, this.name, 'admin.sock')
  }

  get run(): Run | undefined {
    return this.#run
  }

  get isUp(): boolean {
    return this.#child !== undefined
  }

  get programId(): number | undefined {
    return this.#child?.pid
  }

  start(): void {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already`)
    const { main, within, args, env, dir, index } = this.options
    const run: Run = {
      node: index,
      number: this.runs.length + 1,
      startedMs: performance.now(),
      offsetLowMs: Number.NEGATIVE_INFINITY,
      offsetHighMs: Number.POSITIVE_INFINITY,
    }
    this.runs.push(run)
    const [command = '', ...rest] = [...within(), process.execPath, main, 'run', ...args(), '--exec', 'chaos:driver']
    const { PATH = '', HOME = '' } = process.env
    const child = spawn(command, rest, { cwd: dir, env: { PATH, HOME, ...env }, stdio: 'pipe' })
    this.#child = child
    this.#run = run
    this.#isExpectedToEnd = false
    this.#log = createWriteStream(join(dir, `${this.name}.${run.number}.log`))
    child.stdin?.on('error', () => {})
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => this.#said(run, line))
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => this.#logged(run, line))
    this.#pinging = setInterval(() => void this.ask({ op: 'ping' }, 'ping'), PING_MS)
    // It is ready when it answers.
    void this.ask({ op: 'ping' }, 'ping')
    this.#ended = new Promise((done) => {
      child.once('error', (error) => this.options.onSurprise(run, error.message))
      child.once('close', (code, signal) => {
        this.#over(run, code, signal)
        done()
      })
    })
  }

  /** Carries out an order with the client of this name. */
  ask(order: Order, client: string): Promise<Answer> {
    const sentMs = performance.now()
    const run = this.#run
    if (run === undefined || this.#child === undefined) return Promise.resolve({ kind: 'gone', run, sentMs })
    const id = this.#next++
    return new Promise((done) => {
      this.#pending.set(id, { done, sentMs })
      this.#child?.stdin?.write(`${JSON.stringify({ ...order, c: client, id })}\n`)
    })
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** At once, as `kill -9`. */
  async kill(): Promise<void> {
    this.#tellEnd()
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** As an operator stops it. @returns whether it ended within the time */
  async stop(withinMs: number): Promise<boolean> {
    this.#tellEnd()
    this.#child?.kill('SIGTERM')
    const isOver = await Promise.race([
      this.#ended.then(() => true),
      new Promise<boolean>((done) => setTimeout(() => done(false), withinMs).unref()),
    ])
    if (!isOver) await this.kill()
    return isOver
  }

  /** Resolves at the end of the run. */
  ended(): Promise<void> {
    return this.#ended
  }

  /** Resolves when it is ready for orders, at once when it is. */
  ready(): Promise<void> {
    if (this.isReady) return Promise.resolve()
    return new Promise((done) => this.#waiting.push(done))
  }

  /** Its end is no surprise from now on. */
  expectEnd(): void {
    this.#isExpectedToEnd = true
  }

  #tellEnd(): void {
    this.#isExpectedToEnd = true
    if (this.#run !== undefined) this.#run.endedMs ??= performance.now()
  }

  #said(run: Run, line: string): void {
    const atMs = performance.now()
    let said: Record<string, unknown>
    try {
      said = JSON.parse(line) as Record<string, unknown>
    } catch {
      appendFileSync(join(this.options.dir, `${this.name}.strange`), `${line}\n`)
      return
    }
    if ('ev' in said) {
      this.options.onRemark(run, said as unknown as Remark, atMs)
      return
    }
    if (!this.isReady) {
      run.readyMs = atMs
      this.isReady = true
      for (const done of this.#waiting.splice(0)) done()
    }
    const id = said['id'] as number
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    const reply = said as unknown as Reply
    if (reply.t0 !== undefined) {
      // It began after it was sent and ended before it arrived here.
      run.offsetLowMs = Math.max(run.offsetLowMs, pending.sentMs - reply.t0 * 1000)
      run.offsetHighMs = Math.min(run.offsetHighMs, atMs - reply.t1 * 1000)
    }
    pending.done({ kind: 'reply', reply, run, sentMs: pending.sentMs, atMs })
  }

  #logged(run: Run, line: string): void {
    this.#log?.write(`${line}\n`)
    const atMs = performance.now()
    if (!line.startsWith('{')) {
      this.options.onLog(run, { atMs, level: 'raw', event: undefined, text: line })
      return
    }
    try {
      const record = JSON.parse(line) as { level: string; event?: string }
      this.options.onLog(run, { atMs, level: record.level, event: record.event, text: line })
    } catch {
      this.options.onLog(run, { atMs, level: 'raw', event: undefined, text: line })
    }
  }

  #over(run: Run, code: number | null, signal: NodeJS.Signals | null): void {
    clearInterval(this.#pinging)
    run.endedMs ??= performance.now()
    this.#child = undefined
    this.isReady = false
    this.#log?.end()
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { done, sentMs } of pending) done({ kind: 'gone', run, sentMs })
    if (!this.#isExpectedToEnd) this.options.onSurprise(run, signal ?? `exit code ${code}`)
  }
}
