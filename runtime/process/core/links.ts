// Links and monitors of one host's processes: who hears of which exit. lua-core.md §8, §9.5. A pair may have one end elsewhere; the host
// then tells that end's host. Rules follow Erlang's: monitors are one-way and fire once, links are symmetric and fire on failure.
//
// What two hosts, or two nodes, say about a pair may cross on its way. A monitor of a process elsewhere has a number, which its EXIT bears:
// the EXIT of one that was taken back is not taken for that of the next. Whoever takes back a link with a process elsewhere waits for an
// acknowledgement, and until it comes what the other end asked for in ignorance of it is void: both ends agree whether there is a link.
// cluster.md §10.1; the link protocol of Erlang's distribution.

import { PairSet } from '../../base/pair-set.ts'

interface Notice {
  kind: 'exit' | 'link-down'
  to: string
  /** Of the monitor; absent: it has none. */
  id?: number
}

/** Ends of pairs that must be told elsewhere that their partner is gone. */
interface Leftovers {
  readonly notices: readonly Notice[]
  /** Targets that the ended process monitored. */
  readonly unmonitor: readonly string[]
  /** Partners of silently dissolved links: the process returned normally. */
  readonly unlink: readonly string[]
}

const NOTHING_LEFT: Leftovers = { notices: [], unmonitor: [], unlink: [] }

/** A monitor, and its number if it has one. */
interface Watch {
  readonly watcher: string
  readonly target: string
  readonly id?: number
}

/** Numbers of pairs; most have none. */
class Ids {
  readonly #ids = new Map<string, number>()

  get(left: string, right: string): number | undefined {
    return this.#ids.get(`${left} ${right}`)
  }

  set(left: string, right: string, id: number): void {
    this.#ids.set(`${left} ${right}`, id)
  }

  take(left: string, right: string): { id?: number } {
    const key = `${left} ${right}`
    const id = this.#ids.get(key)
    if (id === undefined) return {}
    this.#ids.delete(key)
    return { id }
  }
}

export class Links {
  /** (watcher, target) */
  readonly #monitors = new PairSet<string>()
  readonly #monitorIds = new Ids()
  /** Both directions of every link. */
  readonly #links = new PairSet<string>()
  /** (who took the link back, the other end), until the other end has acknowledged it. */
  readonly #unlinking = new PairSet<string>()
  readonly #unlinkIds = new Ids()
  #monitorCount = 0
  #linkCount = 0
  #unlinkingCount = 0

  /** Monitors, links, and links whose end is not acknowledged. */
  get count(): number {
    return this.#monitorCount + this.#linkCount + this.#unlinkingCount
  }

  /** Links that were taken back and whose other end has not said that it knows. */
  get unacknowledgedCount(): number {
    return this.#unlinkingCount
  }

  /** False when the watcher already monitors the target. @param id its number, where an EXIT and its taking back may cross; 0: none */
  monitor(watcher: string, target: string, id = 0): boolean {
    if (!this.#monitors.add(watcher, target)) return false
    this.#monitorCount++
    if (id !== 0) this.#monitorIds.set(watcher, target, id)
    return true
  }

  /** False when there was no such monitor. */
  unmonitor(watcher: string, target: string): boolean {
    if (!this.#monitors.remove(watcher, target)) return false
    this.#monitorCount--
    this.#monitorIds.take(watcher, target)
    return true
  }

  /** The number of a monitor; 0: it has none. Undefined: there is no such monitor. */
  monitorId(watcher: string, target: string): number | undefined {
    return this.#monitors.has(watcher, target) ? (this.#monitorIds.get(watcher, target) ?? 0) : undefined
  }

  /** Whether it is this very monitor that there is. */
  isMonitoring(watcher: string, target: string, id = 0): boolean {
    return this.monitorId(watcher, target) === id
  }

  /** `from` asks for a link. Linking twice is one link. False: the other end has just taken it back, and says so. */
  link(from: string, to: string): boolean {
    if (from === to) return true
    if (this.#unlinking.has(to, from)) return false
    this.#forgetUnlinking(from, to)
    if (!this.#links.add(from, to)) return true
    this.#links.add(to, from)
    this.#linkCount++
    return true
  }

  /** The link is over, for both ends. */
  unlink(a: string, b: string): boolean {
    this.#links.remove(b, a)
    if (!this.#links.remove(a, b)) return false
    this.#linkCount--
    return true
  }

  /** `from` takes the link back. @param id what the acknowledgement will name */
  beginUnlink(from: string, to: string, id: number): void {
    this.unlink(from, to)
    if (this.#unlinking.add(from, to)) this.#unlinkingCount++
    this.#unlinkIds.set(from, to, id)
  }

  /** `to` knows that `from` took the link back; of an earlier time when it is not the last. */
  unlinkAcknowledged(from: string, to: string, id: number): void {
    if (this.#unlinkIds.get(from, to) === id) this.#forgetUnlinking(from, to)
  }

  #forgetUnlinking(from: string, to: string): void {
    if (!this.#unlinking.remove(from, to)) return
    this.#unlinkingCount--
    this.#unlinkIds.take(from, to)
  }

  isLinked(a: string, b: string): boolean {
    return this.#links.has(a, b)
  }

  /** `gone` has ended and will acknowledge nothing. */
  partnerEnded(pid: string, gone: string): void {
    this.unlink(pid, gone)
    this.#forgetUnlinking(pid, gone)
  }

  /** Takes the process out of every pair. Monitors hear of any end, links of a failure only; monitors come first. */
  exited(pid: string, failed: boolean): Leftovers {
    if (!this.#monitors.knows(pid) && !this.#links.knows(pid) && !this.#unlinking.knows(pid)) return NOTHING_LEFT
    const notices: Notice[] = this.#takeWatchers(pid).map(({ watcher, id }) => ({
      kind: 'exit',
      to: watcher,
      ...(id === undefined ? {} : { id }),
    }))
    const partners = this.#links.takeLeft(pid)
    this.#links.takeRight(pid)
    this.#linkCount -= partners.length
    for (const other of this.#unlinking.rightsOf(pid)) this.#forgetUnlinking(pid, other)
    for (const other of this.#unlinking.leftsOf(pid)) this.#forgetUnlinking(other, pid)
    if (failed) for (const to of partners) notices.push({ kind: 'link-down', to })
    return { notices, unmonitor: this.#takeWatched(pid).map(({ target }) => target), unlink: failed ? [] : partners }
  }

  /** Monitors of the target; they are removed. */
  #takeWatchers(target: string): Watch[] {
    const watchers = this.#monitors.takeRight(target)
    this.#monitorCount -= watchers.length
    return watchers.map((watcher) => ({ watcher, target, ...this.#monitorIds.take(watcher, target) }))
  }

  /** Monitors that the watcher has; they are removed. */
  #takeWatched(watcher: string): Watch[] {
    const targets = this.#monitors.takeLeft(watcher)
    this.#monitorCount -= targets.length
    return targets.map((target) => ({ watcher, target, ...this.#monitorIds.take(watcher, target) }))
  }

  pairsOf(pid: string): { links: string[]; monitors: string[]; monitoredBy: string[] } {
    return {
      links: this.#links.rightsOf(pid),
      monitors: this.#monitors.rightsOf(pid),
      monitoredBy: this.#monitors.leftsOf(pid),
    }
  }

  /** A monitor that fired elsewhere; not the one that was set up since. */
  fired(watcher: string, target: string, id = 0): void {
    if (this.isMonitoring(watcher, target, id)) this.unmonitor(watcher, target)
  }

  /** Monitors with a target that `isLost`; they are removed. */
  takeLost(isLost: (pid: string) => boolean): Watch[] {
    return [...this.#monitors.rights()].filter(isLost).flatMap((target) => this.#takeWatchers(target))
  }

  /** Monitors with a watcher that `isLost`; they are removed. */
  takeLostWatchers(isLost: (pid: string) => boolean): Watch[] {
    return [...this.#monitors.lefts()].filter(isLost).flatMap((watcher) => this.#takeWatched(watcher))
  }

  /** Links with a partner that `isLost`; they are removed. */
  takeLostLinks(isLost: (pid: string) => boolean): { survivor: string; lost: string }[] {
    const gone = [...this.#links.lefts()].filter(isLost)
    return gone.flatMap((lost) => {
      this.#links.takeRight(lost)
      const survivors = this.#links.takeLeft(lost)
      this.#linkCount -= survivors.length
      return survivors.map((survivor) => ({ survivor, lost }))
    })
  }

  /** Links that were taken back and whose other end `isLost`: nobody will acknowledge that any more. Those that a lost end took back go too. */
  takeLostUnlinking(isLost: (pid: string) => boolean): { survivor: string; lost: string; id: number }[] {
    const over: { survivor: string; lost: string; id: number }[] = []
    for (const lost of [...this.#unlinking.rights()].filter(isLost)) {
      for (const survivor of this.#unlinking.leftsOf(lost)) {
        over.push({ survivor, lost, id: this.#unlinkIds.get(survivor, lost) ?? 0 })
        this.#forgetUnlinking(survivor, lost)
      }
    }
    for (const lost of [...this.#unlinking.lefts()].filter(isLost)) {
      for (const survivor of this.#unlinking.rightsOf(lost)) this.#forgetUnlinking(lost, survivor)
    }
    return over
  }
}
