// Names of hosts, asked for again at each attempt. The system's resolver cannot be interrupted and has few threads, which file
// access needs too: one question a name at a time, however many wait for its answer.

import { lookup } from 'node:dns/promises'
import { parseHost } from './core/address.ts'

/** The IP addresses of a host name, in the order of preference. Rejects when there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>

const RESOLVE_MS = 5000
const ADDRESSES_MAX = 16

export class Resolver {
  readonly #resolve: Resolve
  readonly #asked = new Map<string, Promise<readonly string[]>>()

  constructor(resolve: Resolve = resolveBySystem) {
    this.#resolve = resolve
  }

  /** The canonical addresses of a literal or a name. Rejects when the resolver does, or takes too long. */
  async addresses(host: string): Promise<string[]> {
    const literal = parseHost(host)
    if (literal !== undefined) return [literal]
    let late: NodeJS.Timeout | undefined
    const tooLate = new Promise<never>((_, reject) => {
      late = setTimeout(() => reject(new Error(`resolving ${host} took more than ${RESOLVE_MS} ms`)), RESOLVE_MS)
    })
    try {
      const found = await Promise.race([this.#ask(host), tooLate])
      return found
        .map(parseHost)
        .filter((each) => each !== undefined)
        .slice(0, ADDRESSES_MAX)
    } finally {
      clearTimeout(late)
    }
  }

  #ask(host: string): Promise<readonly string[]> {
    const asked = this.#asked.get(host)
    if (asked !== undefined) return asked
    const answer = this.#resolve(host).finally(() => this.#asked.delete(host))
    this.#asked.set(host, answer)
    return answer
  }
}

async function resolveBySystem(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}
