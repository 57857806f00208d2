// What the node answers to scripts: services by name, their methods, and who has dealings with them. A host passes a script's request on
// (process/port.ts); what a service does and keeps is its own affair.

import { MoonmeshError } from './base/errors.ts'
import type { Value } from './base/value.ts'

/** Who asks. */
export interface Client {
  /** The process. */
  readonly pid: string
  /** The entry that it runs. */
  readonly entry: string
  /** Aborts when the process has ended, or does not wait any more. */
  readonly signal: AbortSignal
}

/**
 * Answers a request. Arguments are what the library module sends, which a script cannot forge; what stands in them may be anything.
 * @throws MoonmeshError or ErrorValue: the script gets it as `nil, err`
 */
type ServiceMethod = (args: readonly Value[], client: Client) => Value | Promise<Value>

export interface NodeService {
  readonly methods: Readonly<Record<string, ServiceMethod>>
  /** The process has ended: whatever it held is free. Called for every process that asked this node anything. */
  clientEnded?(pid: string): void
  close?(): void | Promise<void>
}

export interface ServiceRequest {
  readonly service: string
  readonly method: string
  readonly args: readonly Value[]
  readonly from: string
  readonly entry: string
}

export class NodeServices {
  readonly #services = new Map<string, NodeService>()
  /** Processes that have asked something and live. */
  readonly #clients = new Set<string>()

  add(name: string, service: NodeService): void {
    this.#services.set(name, service)
  }

  /** Answers at once when the service does. @throws MoonmeshError `Unavailable` when this node has no such service */
  request({ service, method, args, from, entry }: ServiceRequest, signal: AbortSignal): Value | Promise<Value> {
    const run = this.#services.get(service)?.methods[method]
    if (run === undefined) {
      throw new MoonmeshError('Unavailable', `this node has no service ${service}.${method}`, { retryable: false })
    }
    this.#clients.add(from)
    return run(args, { pid: from, entry, signal })
  }

  /** Services are to hear of the end of this process, though it asked nothing itself. */
  watch(pid: string): void {
    this.#clients.add(pid)
  }

  clientEnded(pid: string): void {
    if (!this.#clients.delete(pid)) return
    for (const service of this.#services.values()) service.clientEnded?.(pid)
  }

  /** A host is gone, and its processes with it. */
  clientsLost(isLost: (pid: string) => boolean): void {
    for (const pid of [...this.#clients]) if (isLost(pid)) this.clientEnded(pid)
  }

  /** In the reverse order of `add`. */
  async close(): Promise<void> {
    for (const service of [...this.#services.values()].reverse()) await service.close?.()
  }
}
