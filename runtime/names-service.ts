// Names that are known beyond this node, for `process.registry`: what a script asks becomes a question to the cluster. lua-core.md §10.

import { MoonmeshError } from './base/errors.ts'
import { Float, list, record, type Value } from './base/value.ts'
import { type NameEvent, type NamePattern, nameEventValue } from './name-watches.ts'
import type { NodeService } from './node-services.ts'
import { nameProblem } from './process/core/names.ts'
import { type FeedProcess, Watches, type Watching } from './watches.ts'

type ClusterScope = 'eventual' | 'consistent' | 'strong'

/** The cluster's part. Names and PIDs are byte strings. */
interface ClusterNames {
  /** @throws MoonmeshError `AlreadyExists`, `NotFound` (no such process), `Unavailable`, `Timeout`, `LimitExceeded`, `Canceled` */
  register(request: RegisterRequest): Promise<void>
  /** @returns false: nothing of this name was the caller's to give up in that scope */
  unregister(request: UnregisterRequest): Promise<boolean>
  /** @returns undefined: nobody has it @throws MoonmeshError `Unavailable` */
  find(name: string, options: { readonly isLinearizable: boolean }): Promise<string | undefined>
  /** Names that begin with this, as they resolve here, sorted. */
  entries(prefix: string): readonly { readonly name: string; readonly pid: string; readonly scope: string }[]
  /** A process of this node ended. */
  exited(pid: string): void
}

interface RegisterRequest {
  readonly name: string
  readonly pid: string
  readonly scope: ClusterScope
  /** The process that asks. */
  readonly caller: string
  readonly signal: AbortSignal
}

interface UnregisterRequest {
  readonly name: string
  readonly scope: ClusterScope
  readonly caller: string
  readonly signal: AbortSignal
}

const SCOPES: readonly (ClusterScope | undefined)[] = [undefined, 'eventual', 'consistent', 'strong']

interface NamesServiceParts {
  /** Undefined: clustering is off. */
  names(): ClusterNames | undefined
  /** Names of scope local that begin with this. */
  local(prefix: string): readonly (readonly [name: string, pid: string])[]
  watch(pattern: NamePattern): Watching<NameEvent>
  readonly feed: FeedProcess
}

export class NamesService implements NodeService {
  readonly #parts: NamesServiceParts
  readonly watches: Watches<NameEvent>

  constructor(parts: NamesServiceParts) {
    this.#parts = parts
    this.watches = new Watches(parts.feed, 'the registry of names', nameEventValue)
  }

  readonly methods: NodeService['methods'] = {
    // What is wrong from the beginning is answered at once.
    register: ([name, pid, number], { pid: caller, signal }) => {
      const scope = scopeOf(number)
      const names = this.#of(scope)
      const text = String(name)
      const problem = nameProblem(text)
      if (problem !== undefined) throw new MoonmeshError('Invalid', problem, { retryable: false })
      return names.register({ name: text, pid: String(pid), scope, caller, signal }).then(() => true)
    },
    unregister: ([name, number], { pid: caller, signal }) => {
      const scope = scopeOf(number)
      return this.#of(scope).unregister({ name: String(name), scope, caller, signal })
    },
    /** Beyond this node. */
    find: ([name, isLinearizable]) => {
      const names = this.#parts.names()
      if (names !== undefined) return names.find(String(name), { isLinearizable: isLinearizable === true })
      if (isLinearizable === true) return this.#of('consistent').find(String(name), { isLinearizable })
      return undefined
    },
    names: ([prefix]) => {
      const local = this.#parts.local(String(prefix)).map(([name, pid]) => ({ name, pid, scope: 'local' }))
      const all = [...(this.#parts.names()?.entries(String(prefix)) ?? []), ...local]
      return list(
        all.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).map((each) => record({ ...each })),
      )
    },
    /** name, whether names that begin with it are meant, topic of the feed */
    watch: ([name, isPrefix, topic], { pid, signal }) => {
      this.watches.assertRoom(pid)
      const pattern = { name: String(name), isPrefix: isPrefix === true }
      const problem = pattern.isPrefix ? undefined : nameProblem(pattern.name)
      if (problem !== undefined) throw new MoonmeshError('Invalid', problem, { retryable: false })
      const watching = this.#parts.watch(pattern)
      // The process did not wait for it.
      if (signal.aborted) watching.close()
      else this.watches.add(pid, topic as string, '', watching)
      return undefined
    },
    unwatch: ([topic], { pid }) => {
      this.watches.close(pid, topic as string)
      return undefined
    },
    consumed: ([topic, count], { pid }) => {
      this.watches.consumed(pid, topic as string, Number(count))
      return undefined
    },
  }

  clientEnded(pid: string): void {
    this.watches.closeOf(pid)
    this.#parts.names()?.exited(pid)
  }

  #of(scope: ClusterScope): ClusterNames {
    const names = this.#parts.names()
    if (names !== undefined) return names
    const which = scope === 'eventual' ? 'eventual' : 'global'
    throw new MoonmeshError('Internal', `${which} registry not available`, { retryable: false })
  }
}

function scopeOf(value: Value): ClusterScope {
  const scope = SCOPES[value instanceof Float ? value.value : Number(value)]
  if (scope === undefined) throw new MoonmeshError('Invalid', 'no scope of the cluster', { retryable: false })
  return scope
}
