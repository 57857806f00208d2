// Link sessions between nodes, as the layers above the mesh see them: within one, messages arrive in order and once; it ends on each
// side in its own time, and what was under way is lost; a new one begins when both sides know that the old one is over.
// For protocols whose own rules are to be tried; the mesh itself is in mesh.ts.

import type { World } from './world.ts'

export interface SessionNode {
  readonly name: string
  readonly epoch: number
  readonly isRunning: boolean
  nodeUp(peer: string, epoch: number): void
  nodeDown(peer: string, epoch: number): void
  receive(peer: string, epoch: number, message: Uint8Array): void
}

interface Side {
  readonly node: SessionNode
  isUp: boolean
  isOver: boolean
  /** What arrived before this side was up, or while the link is cut. */
  waiting: Uint8Array[]
  lastArrivalMs: number
}

interface Session {
  readonly sides: readonly [Side, Side]
  isOver: boolean
}

interface SessionFaults {
  /** Of a message, in true milliseconds. */
  delayMs: { min: number; max: number }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a}/${b}` : `${b}/${a}`)

export class SessionNetwork {
  readonly #world: World
  readonly #nodes = new Map<string, SessionNode>()
  readonly #sessions = new Map<string, Session>()
  readonly #cuts = new Set<string>()
  faults: SessionFaults = { delayMs: { min: 0.2, max: 5 } }

  constructor(world: World) {
    this.#world = world
  }

  /** A run begins; it and the others hear of each other after a while. */
  join(node: SessionNode): void {
    this.#nodes.set(node.name, node)
    for (const other of this.running()) if (other !== node) this.#connectLater(node.name, other.name)
  }

  running(): SessionNode[] {
    return [...this.#nodes.values()].filter(({ isRunning }) => isRunning)
  }

  /** The node is gone without a word: the others learn of it each in its time. */
  crashed(name: string): void {
    for (const session of this.#sessions.values()) {
      if (session.sides.some(({ node }) => node.name === name)) this.#end(session, 15_000)
    }
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pairOf(a, b))
  }

  /** Nothing arrives until it heals; verdicts fall on each side after a random while, or not at all if it heals before. */
  cut(a: string, b: string): void {
    this.#cuts.add(pairOf(a, b))
    const session = this.#sessions.get(pairOf(a, b))
    if (session === undefined) return
    this.#world.after(this.#world.chance.between(3000, 40_000), () => {
      if (this.isCut(a, b) && !session.isOver) this.#end(session, 20_000)
    })
  }

  heal(a: string, b: string): void {
    const pair = pairOf(a, b)
    if (!this.#cuts.delete(pair)) return
    const session = this.#sessions.get(pair)
    if (session === undefined || session.isOver) this.#connectLater(a, b)
    else for (const side of session.sides) this.#flush(session, side)
  }

  healAll(): void {
    for (const pair of [...this.#cuts].sort()) {
      const [a = '', b = ''] = pair.split('/')
      this.heal(a, b)
    }
  }

  /** A wrong verdict of gossip: the session ends though both live. */
  breakSession(a: string, b: string): void {
    const session = this.#sessions.get(pairOf(a, b))
    if (session !== undefined && !session.isOver) this.#end(session, 5000)
  }

  /** False when there is no session on this side. */
  send(from: SessionNode, to: string, message: Uint8Array): boolean {
    const session = this.#sessions.get(pairOf(from.name, to))
    const [own, other] = sidesOf(session, from.name)
    if (session === undefined || own?.node !== from || other === undefined || !own.isUp) return false
    const { min, max } = this.faults.delayMs
    const arrivalMs = Math.max(other.lastArrivalMs, this.#world.nowMs + this.#world.chance.between(min, max))
    other.lastArrivalMs = arrivalMs
    this.#world.after(arrivalMs - this.#world.nowMs, () => {
      if (session.isOver) return
      other.waiting.push(message)
      this.#flush(session, other)
    })
    return true
  }

  #flush(session: Session, side: Side): void {
    const [, other] = sidesOf(session, side.node.name)
    if (other === undefined || this.isCut(side.node.name, other.node.name)) return
    while (side.isUp && !session.isOver && side.node.isRunning) {
      const message = side.waiting.shift()
      if (message === undefined) return
      side.node.receive(other.node.name, other.node.epoch, message)
    }
  }

  #connectLater(a: string, b: string): void {
    this.#world.after(this.#world.chance.between(10, 1500), () => this.#connect(a, b))
  }

  #connect(a: string, b: string): void {
    const pair = pairOf(a, b)
    const one = this.#nodes.get(a)
    const two = this.#nodes.get(b)
    if (one?.isRunning !== true || two?.isRunning !== true || this.isCut(a, b)) return
    const before = this.#sessions.get(pair)
    if (before !== undefined) {
      // An old run's session is over as soon as the new run shows up.
      const isOld = before.sides.some(({ node }) => node !== one && node !== two)
      if (!before.isOver && !isOld) return
      if (!before.isOver) this.#end(before, 0)
      if (before.sides.some(({ node, isUp }) => isUp && node.isRunning)) return this.#connectLater(a, b)
    }
    const sideOf = (node: SessionNode): Side => ({ node, isUp: false, isOver: false, waiting: [], lastArrivalMs: 0 })
    const session: Session = { sides: [sideOf(one), sideOf(two)], isOver: false }
    this.#sessions.set(pair, session)
    for (const side of session.sides) {
      this.#world.after(this.#world.chance.between(0, 200), () => {
        if (session.isOver || !side.node.isRunning) return
        const [, other] = sidesOf(session, side.node.name)
        side.isUp = true
        side.node.nodeUp(other?.node.name ?? '', other?.node.epoch ?? 0)
        this.#flush(session, side)
      })
    }
  }

  #end(session: Session, withinMs: number): void {
    if (session.isOver) return
    session.isOver = true
    for (const side of session.sides) {
      const [, other] = sidesOf(session, side.node.name)
      this.#world.after(withinMs === 0 ? 0 : this.#world.chance.between(0, withinMs), () => {
        if (!side.isUp) return
        side.isUp = false
        if (side.node.isRunning) side.node.nodeDown(other?.node.name ?? '', other?.node.epoch ?? 0)
      })
    }
    const [a, b] = session.sides.map(({ node }) => node.name) as [string, string]
    this.#connectLater(a, b)
  }
}

function sidesOf(session: Session | undefined, name: string): readonly [Side?, Side?] {
  if (session === undefined) return []
  const [one, two] = session.sides
  return one.node.name === name ? [one, two] : [two, one]
}
