// Simulated connections: bytes in order, late, and at a limited pace; broken by resets, stalled by cuts, refused where nobody
// listens. A cut stalls what is under way, as TCP does, and what comes after the healing is what was sent before.

import type { Chance, World } from './world.ts'

export interface StreamFaults {
  delayMinMs: number
  delayMaxMs: number
  /** Bytes a millisecond, each way of a connection. */
  bytesPerMs: number
  /** Share of writes that break the connection. */
  resets: number
  /** Pieces larger than this are cut into several. */
  pieceBytesMax: number
}

export const quietStreams: StreamFaults = {
  delayMinMs: 0.2,
  delayMaxMs: 1,
  bytesPerMs: 100_000,
  resets: 0,
  pieceBytesMax: 65_536,
}

/** One end of a connection. */
export interface StreamEnd {
  onData: (bytes: Uint8Array) => void
  onClose: (reason: string) => void
  /** Something left the buffer. */
  onWritten: () => void
  readonly bufferedBytes: number
  write(bytes: Uint8Array): void
  /** Sends what is buffered, then ends. */
  close(): void
  /** Stops taking bytes from the network, as a reader that is busy does. */
  isReading: boolean
}

type ConnectFailure = 'refused' | 'timeout'

const RETRY_MS = 200
/** What the kernels of both ends take before a writer has to wait. */
const KERNEL_BYTES = 256 * 1024

export class StreamNetwork {
  readonly #world: World
  readonly #chance: Chance
  readonly #listeners = new Map<string, (end: StreamEnd, from: string) => void>()
  readonly #cuts = new Set<string>()
  readonly #pipes = new Set<Pipe>()
  readonly #isCutElsewhere: (from: string, to: string) => boolean
  /** A firewall answers what goes from one to the other with a reset, as if nobody listened there. */
  readonly isRejected: (from: string, to: string) => boolean
  faults: StreamFaults

  /** @param isCutElsewhere cuts of another network between the same places  @param isRejected its firewalls */
  constructor(
    world: World,
    faults: StreamFaults = quietStreams,
    isCutElsewhere: (from: string, to: string) => boolean = () => false,
    isRejected: (from: string, to: string) => boolean = () => false,
  ) {
    this.isRejected = isRejected
    this.#world = world
    this.#isCutElsewhere = isCutElsewhere
    this.#chance = world.chance.fork()
    this.faults = { ...faults }
  }

  listen(address: string, accept: (end: StreamEnd, from: string) => void): void {
    this.#listeners.set(address, accept)
  }

  /** Nobody listens any more, and all connections of the address are reset. */
  crash(address: string): void {
    this.#listeners.delete(address)
    this.reset((a, b) => a === address || b === address)
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  partition(one: readonly string[], other: readonly string[]): void {
    for (const a of one) {
      for (const b of other) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  heal(): void {
    this.#cuts.clear()
  }

  /** Breaks connections; both ends hear of it at once. */
  reset(isMeant: (dialer: string, acceptor: string) => boolean = () => true): number {
    let count = 0
    for (const pipe of [...this.#pipes]) {
      if (!isMeant(pipe.dialer, pipe.acceptor)) continue
      pipe.reset('connection reset')
      count++
    }
    return count
  }

  connect(
    from: string,
    to: string,
    timeoutMs: number,
    done: (result: StreamEnd | ConnectFailure) => void,
  ): { cancel(): void } {
    let isOver = false
    const finish = (result: StreamEnd | ConnectFailure): void => {
      if (isOver) return
      isOver = true
      done(result)
    }
    this.#world.after(timeoutMs, () => finish('timeout'))
    const attempt = (): void => {
      if (isOver) return
      if (this.isRejected(from, to)) return this.#world.after(this.delayMs(), () => finish('refused'))
      if (!this.passes(from, to) || !this.passes(to, from)) return this.#world.after(RETRY_MS, attempt)
      const accept = this.#listeners.get(to)
      if (accept === undefined) return this.#world.after(this.delayMs(), () => finish('refused'))
      const pipe = new Pipe(this.#world, this, from, to, () => this.#pipes.delete(pipe))
      this.#pipes.add(pipe)
      accept(pipe.ends[1], from)
      this.#world.after(this.delayMs(), () => {
        if (isOver) pipe.reset('connection reset')
        else finish(pipe.ends[0])
      })
    }
    this.#world.after(this.delayMs(), attempt)
    return {
      cancel: () => {
        isOver = true
      },
    }
  }

  passes(from: string, to: string): boolean {
    return !this.#cuts.has(`${from}>${to}`) && !this.#isCutElsewhere(from, to)
  }

  delayMs(): number {
    return this.#chance.between(this.faults.delayMinMs, this.faults.delayMaxMs)
  }

  isReset(): boolean {
    return this.faults.resets > 0 && this.#chance.chance(this.faults.resets)
  }
}

class Pipe {
  readonly dialer: string
  readonly acceptor: string
  readonly ends: readonly [End, End]
  readonly #forget: () => void
  #isOver = false

  constructor(world: World, network: StreamNetwork, dialer: string, acceptor: string, forget: () => void) {
    this.dialer = dialer
    this.acceptor = acceptor
    this.#forget = forget
    this.ends = [new End(world, network, this, dialer, acceptor), new End(world, network, this, acceptor, dialer)]
  }

  get isOver(): boolean {
    return this.#isOver
  }

  other(end: End): End {
    return this.ends[0] === end ? this.ends[1] : this.ends[0]
  }

  reset(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#forget()
    for (const end of this.ends) end.closed(reason)
  }
}

class End implements StreamEnd {
  onData: (bytes: Uint8Array) => void = () => {}
  onClose: (reason: string) => void = () => {}
  onWritten: () => void = () => {}
  readonly #world: World
  readonly #network: StreamNetwork
  readonly #pipe: Pipe
  readonly #from: string
  readonly #to: string
  #isReading = true
  /** Not given to the kernel yet; undefined marks the end. */
  readonly #buffer: (Uint8Array | undefined)[] = []
  #bufferedBytes = 0
  /** Given to the kernel and not read by the other end. */
  #underWayBytes = 0
  #freeAtMs = 0
  #arrivesAtMs = 0
  /** Arrived while nobody read. */
  readonly #unread: Uint8Array[] = []
  #isClosing = false

  constructor(world: World, network: StreamNetwork, pipe: Pipe, from: string, to: string) {
    this.#world = world
    this.#network = network
    this.#pipe = pipe
    this.#from = from
    this.#to = to
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  get isReading(): boolean {
    return this.#isReading
  }

  set isReading(isReading: boolean) {
    this.#isReading = isReading
    if (!isReading) return
    for (const bytes of this.#unread.splice(0)) this.#take(bytes)
  }

  write(bytes: Uint8Array): void {
    if (this.#pipe.isOver || this.#isClosing) return
    if (this.#network.isReset() || this.#network.isRejected(this.#from, this.#to))
      return this.#world.after(0, () => this.#pipe.reset('connection reset'))
    const { pieceBytesMax } = this.#network.faults
    for (let at = 0; at < bytes.length; at += pieceBytesMax) {
      this.#buffer.push(bytes.slice(at, at + pieceBytesMax))
    }
    this.#bufferedBytes += bytes.length
    this.#pump()
  }

  close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#buffer.push(undefined)
    this.#pump()
  }

  closed(reason: string): void {
    this.#world.after(0, () => this.onClose(reason))
  }

  #pump(): void {
    while (this.#buffer.length > 0 && this.#underWayBytes < KERNEL_BYTES && !this.#pipe.isOver) {
      const piece = this.#buffer.shift()
      const bytes = piece?.length ?? 0
      const { nowMs } = this.#world
      this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#network.faults.bytesPerMs
      this.#arrivesAtMs = Math.max(this.#arrivesAtMs, this.#freeAtMs + this.#network.delayMs())
      this.#underWayBytes += bytes
      if (bytes > 0) {
        this.#world.after(this.#freeAtMs - nowMs, () => {
          this.#bufferedBytes -= bytes
          if (!this.#pipe.isOver) this.onWritten()
        })
      }
      this.#arrive(piece, this.#arrivesAtMs - nowMs)
    }
  }

  #arrive(piece: Uint8Array | undefined, afterMs: number): void {
    this.#queue.push(piece)
    this.#world.after(afterMs, () => this.#deliver())
  }

  /** In the order of sending, whatever stalls. */
  readonly #queue: (Uint8Array | undefined)[] = []
  #isStalled = false

  #deliver(): void {
    if (this.#pipe.isOver || this.#isStalled || this.#queue.length === 0) return
    if (!this.#network.passes(this.#from, this.#to)) {
      this.#isStalled = true
      this.#world.after(RETRY_MS, () => {
        this.#isStalled = false
        for (let i = this.#queue.length; i > 0 && !this.#isStalled; i--) this.#deliver()
      })
      return
    }
    const piece = this.#queue.shift()
    const other = this.#pipe.other(this)
    if (piece === undefined) return this.#pipe.reset('closed by the other end')
    if (other.#isReading) other.#take(piece)
    else other.#unread.push(piece)
  }

  #take(bytes: Uint8Array): void {
    const sender = this.#pipe.other(this)
    sender.#underWayBytes -= bytes.length
    sender.#pump()
    if (!this.#isClosing) this.onData(bytes)
  }
}
