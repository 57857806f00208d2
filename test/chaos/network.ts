// Where the nodes of a run live: a network namespace each, joined by a bridge, so that any of them can be cut off from any other in any
// direction; or loopback addresses, where nothing can be cut.

import { spawnSync } from 'node:child_process'

export interface Network {
  /** Why it is less than it could be; empty when it is not. */
  readonly limits: readonly string[]
  readonly canCut: boolean
  readonly canSlow: boolean
  readonly canLose: boolean
  address(node: number): string
  /** The command that runs what follows there. */
  within(node: number): readonly string[]
  /** From now on nothing that `from` sends reaches `to`, and nobody is told. */
  block(from: number, to: number): void
  unblock(from: number, to: number): void
  /** Gives it another address; `node` must not be running. */
  move(node: number): void
  /** Limits what it sends; undefined: no more. */
  slow(node: number, kbit: number | undefined): void
  /** Loses a share of what it sends; undefined: no more. */
  lose(node: number, share: number | undefined): void
  close(): void
}

/** Nobody's: what is sent to it is dropped on the way, as by a firewall that says nothing. */
const NOBODY = '02:00:00:00:00:99'

/** @param nodes how many, an intruder included */
export function openNetwork(nodes: number): Network {
  try {
    return new Namespaces(nodes)
  } catch (error) {
    return new Loopback(error instanceof Error ? error.message : String(error))
  }
}

class Namespaces implements Network {
  readonly canCut = true
  readonly canSlow: boolean
  readonly canLose: boolean
  readonly limits: string[] = []
  readonly #tag = `mmc${process.pid}`
  readonly #moves: number[]
  readonly #blocked = new Set<string>()

  constructor(nodes: number) {
    this.#moves = new Array<number>(nodes).fill(0)
    try {
      const hub = this.#hub
      run('ip', 'netns', 'add', hub)
      run('ip', '-n', hub, 'link', 'add', 'b0', 'type', 'bridge')
      run('ip', '-n', hub, 'link', 'set', 'b0', 'up')
      for (let node = 0; node < nodes; node++) {
        const space = this.#space(node)
        run('ip', 'netns', 'add', space)
        run('ip', '-n', hub, 'link', 'add', `p${node}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
        run('ip', '-n', hub, 'link', 'set', `p${node}`, 'master', 'b0', 'up')
        run('ip', '-n', space, 'address', 'add', `${this.address(node)}/16`, 'dev', 'eth0')
        for (const device of ['lo', 'eth0']) run('ip', '-n', space, 'link', 'set', device, 'up')
      }
      this.canSlow = this.#can(() => this.slow(0, 1000))
      this.slow(0, undefined)
      this.canLose = this.#can(() => this.lose(0, 0.1))
      this.lose(0, undefined)
    } catch (error) {
      this.close()
      throw error
    }
    const hasNetem = spawnSync('tc', [
      '-n',
      this.#space(0),
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'netem',
      'delay',
      '1ms',
    ])
    if (hasNetem.status === 0) this.slow(0, undefined)
    else
      this.limits.push('the kernel has no netem: links are slowed by their rate, and nothing is reordered or doubled')
    if (!this.canLose) this.limits.push('packets cannot be lost by chance: htb, pfifo or cls_bpf is missing')
    if (!this.canSlow) this.limits.push('links cannot be slowed: tbf is missing')
  }

  get #hub(): string {
    return `${this.#tag}h`
  }

  #space(node: number): string {
    return `${this.#tag}n${node}`
  }

  address(node: number): string {
    return `10.66.${this.#moves[node] ?? 0}.${node + 1}`
  }

  within(node: number): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.#space(node)}`]
  }

  block(from: number, to: number): void {
    this.#blocked.add(`${from} ${to}`)
    const neighbour = ['neighbour', 'replace', this.address(to), 'lladdr', NOBODY, 'dev', 'eth0', 'nud', 'permanent']
    run('ip', '-n', this.#space(from), ...neighbour)
  }

  unblock(from: number, to: number): void {
    if (!this.#blocked.delete(`${from} ${to}`)) return
    spawnSync('ip', ['-n', this.#space(from), 'neighbour', 'delete', this.address(to), 'dev', 'eth0'])
  }

  move(node: number): void {
    const cuts = [...this.#blocked]
      .filter((each) => each.endsWith(` ${node}`))
      .map((each) => Number(each.split(' ')[0]))
    for (const from of cuts) this.unblock(from, node)
    const space = this.#space(node)
    run('ip', '-n', space, 'address', 'delete', `${this.address(node)}/16`, 'dev', 'eth0')
    this.#moves[node] = ((this.#moves[node] ?? 0) + 1) % 256
    run('ip', '-n', space, 'address', 'add', `${this.address(node)}/16`, 'dev', 'eth0')
    for (const from of cuts) this.block(from, node)
  }

  slow(node: number, kbit: number | undefined): void {
    this.#shape(
      node,
      kbit === undefined ? [] : [['root', 'tbf', 'rate', `${kbit}kbit`, 'burst', '16kb', 'latency', '800ms']],
    )
  }

  /** Without netem: a filter that draws for each packet, into a class whose queue holds none. */
  lose(node: number, share: number | undefined): void {
    if (share === undefined) {
      this.#shape(node, [])
      return
    }
    const threshold = Math.floor((1 - share) * 0xffffffff)
    const draw = `4,32 0 0 4294963256,53 0 1 ${threshold},6 0 0 4294967295,6 0 0 0`
    this.#shape(node, [['root', 'handle', '1:', 'htb', 'default', '10', 'r2q', '10000']])
    const tc = ['tc', '-n', this.#space(node)] as const
    for (const id of ['1:10', '1:20'])
      run(...tc, 'class', 'add', 'dev', 'eth0', 'parent', '1:', 'classid', id, 'htb', 'rate', '1gbit')
    run(...tc, 'qdisc', 'add', 'dev', 'eth0', 'parent', '1:20', 'pfifo', 'limit', '0')
    run(...tc, 'filter', 'add', 'dev', 'eth0', 'parent', '1:', 'bpf', 'bytecode', draw, 'flowid', '1:20')
  }

  close(): void {
    for (let node = 0; node < this.#moves.length; node++) spawnSync('ip', ['netns', 'delete', this.#space(node)])
    spawnSync('ip', ['netns', 'delete', this.#hub])
  }

  #shape(node: number, disciplines: readonly (readonly string[])[]): void {
    const tc = ['tc', '-n', this.#space(node)] as const
    spawnSync('tc', ['-n', this.#space(node), 'qdisc', 'delete', 'dev', 'eth0', 'root'])
    for (const each of disciplines) run(...tc, 'qdisc', 'add', 'dev', 'eth0', ...each)
  }

  #can(attempt: () => void): boolean {
    try {
      attempt()
      return true
    } catch {
      return false
    }
  }
}

class Loopback implements Network {
  readonly canCut = false
  readonly canSlow = false
  readonly canLose = false
  readonly limits: readonly string[]

  constructor(why: string) {
    this.limits = [`no network namespaces (${why.trim()}): nothing is cut, slowed or lost, and no address changes`]
  }

  address(node: number): string {
    return `127.66.0.${node + 1}`
  }

  within(): readonly string[] {
    return []
  }

  block(): void {}
  unblock(): void {}
  move(): void {}
  slow(): void {}
  lose(): void {}
  close(): void {}
}

function run(program: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`)
}
