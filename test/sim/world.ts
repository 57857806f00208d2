// The simulated world: one clock, one seed, and everything that happens in order. Two runs of one seed are the same run.

import type { Env } from '../../runtime/base/env.ts'
import { Heap } from '../../runtime/base/heap.ts'

/** Numbers that look random and follow from the seed (sfc32). */
export class Chance {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = seed | 0
    this.#b = (seed / 0x100000000) | 0
    this.#c = 0x9e3779b9 | 0
    for (let i = 0; i < 15; i++) this.#next()
  }

  /** In [0, 1). */
  fraction(): number {
    return this.#next() / 0x100000000
  }

  /** A whole number in [0, bound). */
  int(bound: number): number {
    return Math.floor(this.fraction() * bound)
  }

  between(min: number, max: number): number {
    return min + this.fraction() * (max - min)
  }

  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)] as T
  }

  /** Chance of its own for a part of the world, so that what one part draws does not shift the others. */
  fork(): Chance {
    return new Chance(this.#next() * 0x200000 + (this.#next() & 0x1fffff))
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }
}

/** How a node's clocks differ from the world's. */
export interface ClockOptions {
  /** Node milliseconds in a true one; 1 is exact. */
  readonly rate?: number
  /** Origin of the monotonic clock. */
  readonly offsetMs?: number
  /** Error of the wall clock. */
  readonly wallErrorMs?: number
}

/** Wall time at the start of every world. */
const WALL_START_MS = 1_700_000_000_000
const TRACE_LINES = 120

export class World {
  readonly seed: number
  readonly chance: Chance
  #nowMs = 0
  #steps = 0
  readonly #heap = new Heap<() => void>()
  readonly #keepsTrace: boolean
  readonly #onNote: ((line: string) => void) | undefined
  #trace: string[] = []

  /** @param options.trace keep what `note` is told  @param options.onNote hears it at once */
  constructor(seed: number, options: { trace?: boolean; onNote?: (line: string) => void } = {}) {
    this.seed = seed
    this.chance = new Chance(seed)
    this.#keepsTrace = options.trace ?? false
    this.#onNote = options.onNote
  }

  /** The last things that happened, for people. */
  get trace(): readonly string[] {
    return this.#trace.slice(-TRACE_LINES)
  }

  /** Something worth reading after a failure. Costs nothing unless a trace is kept. */
  note(what: () => string): void {
    if (!this.#keepsTrace) return
    const line = `${(this.#nowMs / 1000).toFixed(3).padStart(10)}  ${what()}`
    this.#onNote?.(line)
    this.#trace.push(line)
    if (this.#trace.length > TRACE_LINES * 2) this.#trace = this.#trace.slice(-TRACE_LINES)
  }

  /** True time since the start, in milliseconds. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** True time of day. */
  get wallMs(): number {
    return WALL_START_MS + this.#nowMs
  }

  get steps(): number {
    return this.#steps
  }

  /** Runs `act` after true milliseconds; things due at one moment run in the order in which they were asked for. */
  after(delayMs: number, act: () => void): void {
    this.#heap.push(this.#nowMs + Math.max(0, delayMs), act)
  }

  /** Lets true time pass. */
  run(durationMs: number): void {
    const endMs = this.#nowMs + durationMs
    for (let due = this.#heap.nextKey; due !== undefined && due <= endMs; due = this.#heap.nextKey) {
      this.#nowMs = due
      this.#steps++
      this.#heap.pop()?.()
    }
    this.#nowMs = endMs
  }

  /** As `run`, for parts that wait for promises: what follows from a step is done before the next one. */
  async runSettled(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs
    for (let due = this.#heap.nextKey; due !== undefined && due <= endMs; due = this.#heap.nextKey) {
      this.#nowMs = due
      this.#steps++
      this.#heap.pop()?.()
      await new Promise(setImmediate)
    }
    this.#nowMs = endMs
  }

  /** Lets time pass until `isDone`, looked at every `everyMs`; false when it was not within `maxMs`. */
  runUntil(isDone: () => boolean, maxMs: number, everyMs = 50): boolean {
    const endMs = this.#nowMs + maxMs
    while (!isDone()) {
      if (this.#nowMs >= endMs) return false
      this.run(Math.min(everyMs, endMs - this.#nowMs))
    }
    return true
  }

  /** What a core may know of this world. */
  env({ rate = 1, offsetMs = 0, wallErrorMs = 0 }: ClockOptions = {}): Env {
    const chance = this.chance.fork()
    return {
      nowMs: () => offsetMs + this.#nowMs * rate,
      wallMs: () => this.wallMs + wallErrorMs,
      randomInt: (bound) => chance.int(bound),
    }
  }
}
