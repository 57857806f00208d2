import { join } from 'node:path'
import { addressesOf, type Cli, type Program } from './cli.ts'
import { eventually } from './eventually.ts'

/** The nodes of a cluster that run the app of a test's folder, by name. */
export class Nodes extends Map<string, Program> {
  readonly #cli: Cli

  constructor(cli: Cli) {
    super()
    this.#cli = cli
  }

  /**
   * Starts a node that joins those that run, and waits until it is ready.
   * @param options.readyMs how long that may take; by default as long as any wait of `Program`
   */
  async start(name: string, options: { app?: string; set?: readonly string[]; readyMs?: number } = {}): Promise<void> {
    const { app = 'app.yaml', set = [], readyMs } = options
    const others = [...this].filter(([other]) => other !== name)
    const seeds = others.flatMap(([, program]) => addressesOf(program).gossip ?? [])
    const joins = seeds.length === 0 ? [] : [`cluster.membership.join_addrs=${seeds.join(',')}`]
    const settings = [`node.name=${name}`, ...joins, ...set].flatMap((each) => ['--set', each])
    const program = this.#cli.start(['run', app, '--log-format', 'json', ...settings])
    this.set(name, program)
    const ready = '"event":"ready"'
    if (readyMs === undefined) await program.until(ready)
    else await eventually(() => program.stderr.includes(ready), { timeoutMs: readyMs })
  }

  /** Without a word to anybody. */
  async kill(name: string): Promise<void> {
    await this.get(name)?.kill()
    this.delete(name)
  }

  /** Of its admin interface. */
  socketOf(name: string): string {
    return join(this.#cli.dir, '.runtime', name, 'admin.sock')
  }
}
