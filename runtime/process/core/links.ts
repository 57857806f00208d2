// Links and monitors of one host's processes: who hears of which exit. lua-core.md §8, §9.5. A pair may have one end elsewhere; the host
// then tells that end's host. Rules follow Erlang's: monitors are one-way and fire once, links are symmetric and fire on failure.

import { PairSet } from '../../base/pair-set.ts'

export interface Notice {
  kind: 'exit' | 'link-down'
  to: string
}

/** Ends of pairs that must be told elsewhere that their partner is gone. */
export interface Leftovers {
  notices: Notice[]
  /** Targets that the ended process monitored. */
  unmonitor: string[]
  /** Partners of silently dissolved links: the process returned normally. */
  unlink: string[]
}

export class Links {
  /** (watcher, target) */
  readonly #monitors = new PairSet<string>()
  /** Both directions of every link. */
  readonly #links = new PairSet<string>()

  /** False when the watcher already monitors the target. */
  monitor(watcher: string, target: string): boolean {
    return this.#monitors.add(watcher, target)
  }

  /** False when there was no such monitor. */
  unmonitor(watcher: string, target: string): boolean {
    return this.#monitors.remove(watcher, target)
  }

  isMonitoring(watcher: string, target: string): boolean {
    return this.#monitors.has(watcher, target)
  }

  /** Linking twice is one link. */
  link(a: string, b: string): void {
    if (a === b) return
    this.#links.add(a, b)
    this.#links.add(b, a)
  }

  unlink(a: string, b: string): boolean {
    this.#links.remove(b, a)
    return this.#links.remove(a, b)
  }

  isLinked(a: string, b: string): boolean {
    return this.#links.has(a, b)
  }

  /** Takes the process out of every pair. Monitors hear of any end, links of a failure only; monitors come first. */
  exited(pid: string, failed: boolean): Leftovers {
    const notices: Notice[] = this.#monitors.takeRight(pid).map((to) => ({ kind: 'exit', to }))
    const partners = this.#links.takeLeft(pid)
    this.#links.takeRight(pid)
    if (failed) for (const to of partners) notices.push({ kind: 'link-down', to })
    return { notices, unmonitor: this.#monitors.takeLeft(pid), unlink: failed ? [] : partners }
  }

  /** A monitor that fired elsewhere. */
  fired(watcher: string, target: string): void {
    this.#monitors.remove(watcher, target)
  }

  /** Pairs (watcher, target) with a target that `isLost`; they are removed. */
  takeLost(isLost: (pid: string) => boolean): { watcher: string; target: string }[] {
    const lost = [...this.#monitors.rights()].filter(isLost)
    return lost.flatMap((target) => this.#monitors.takeRight(target).map((watcher) => ({ watcher, target })))
  }

  /** Pairs (watcher, target) with a watcher that `isLost`; they are removed. */
  takeLostWatchers(isLost: (pid: string) => boolean): { watcher: string; target: string }[] {
    const lost = [...this.#monitors.lefts()].filter(isLost)
    return lost.flatMap((watcher) => this.#monitors.takeLeft(watcher).map((target) => ({ watcher, target })))
  }

  /** Links with a partner that `isLost`; they are removed. */
  takeLostLinks(isLost: (pid: string) => boolean): { survivor: string; lost: string }[] {
    const gone = [...this.#links.lefts()].filter(isLost)
    return gone.flatMap((lost) => {
      this.#links.takeRight(lost)
      return this.#links.takeLeft(lost).map((survivor) => ({ survivor, lost }))
    })
  }
}
