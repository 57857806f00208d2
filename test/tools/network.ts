// Two network namespaces joined by a cable, for tests that cut nodes off from each other. Needs `unshare`, `nsenter` and `ip`, and a kernel
// that lets this user make namespaces.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { eventually } from './eventually.ts'

const SUBNET = '10.77.0'
/** Nobody's: what is sent to it is dropped on the way, as by a firewall that says nothing. */
const NOBODY = '02:00:00:00:00:99'

export interface Side {
  readonly address: string
  /** The command that runs what follows in it. */
  readonly within: readonly string[]
}

export class CutNetwork {
  readonly #holders: ChildProcess[]
  readonly sides: readonly [Side, Side]

  private constructor(holders: ChildProcess[], sides: readonly [Side, Side]) {
    this.#holders = holders
    this.sides = sides
  }

  /** @throws when it is not permitted here */
  static async open(): Promise<CutNetwork> {
    const holders: ChildProcess[] = []
    const hold = async (command: readonly string[]): Promise<string[]> => {
      const [program = '', ...rest] = command
      const before = namespaceOf('self')
      const holder = spawn(program, [...rest, '-n', 'sleep', 'infinity'], { stdio: 'ignore' })
      holders.push(holder)
      holder.on('error', () => {})
      const isIn = (): boolean => {
        if (holder.exitCode !== null || holder.pid === undefined) return false
        return commandOf(holder.pid) === 'sleep' && namespaceOf(holder.pid) !== before
      }
      await eventually(isIn, { timeoutMs: 3000, what: `${program}: a namespace` })
      return ['nsenter', '-t', String(holder.pid), '-U', '--preserve-credentials', '-n']
    }
    try {
      const first = await hold(['unshare', '-Ur'])
      const second = await hold([...first, 'unshare'])
      run(first, 'ip', 'link', 'add', 'v1', 'type', 'veth', 'peer', 'name', 'v2', 'netns', second[2] ?? '')
      const sides = [first, second].map((within, i): Side => {
        const address = `${SUBNET}.${i + 1}`
        run(within, 'ip', 'address', 'add', `${address}/24`, 'dev', `v${i + 1}`)
        for (const device of ['lo', `v${i + 1}`]) run(within, 'ip', 'link', 'set', device, 'up')
        return { address, within }
      })
      return new CutNetwork(holders, sides as unknown as readonly [Side, Side])
    } catch (error) {
      for (const holder of holders) holder.kill('SIGKILL')
      throw error
    }
  }

  /** From now on nothing arrives on either side, and nobody is told. */
  cut(): void {
    for (const [i, { within }] of this.sides.entries()) {
      const other = this.sides[1 - i] as Side
      run(within, 'ip', 'neighbour', 'replace', other.address, 'lladdr', NOBODY, 'dev', `v${i + 1}`, 'nud', 'permanent')
    }
  }

  /**
   * From now on nothing leaves either side, and whoever sends is told so at once, as by a firewall that rejects.
   * @param how what it is told: that it is forbidden, or that there is no such host
   */
  reject(how: 'prohibit' | 'unreachable'): void {
    for (const [i, { within }] of this.sides.entries()) {
      run(within, 'ip', 'route', 'add', how, `${(this.sides[1 - i] as Side).address}/32`)
    }
  }

  /** Whatever was done is undone. */
  heal(): void {
    for (const [i, { within }] of this.sides.entries()) {
      const other = this.sides[1 - i] as Side
      for (const how of ['prohibit', 'unreachable']) tryTo(within, 'ip', 'route', 'delete', how, `${other.address}/32`)
      tryTo(within, 'ip', 'neighbour', 'delete', other.address, 'dev', `v${i + 1}`)
    }
  }

  close(): void {
    for (const holder of this.#holders) holder.kill('SIGKILL')
  }
}

function run(within: readonly string[], ...command: string[]): void {
  const [program = '', ...rest] = [...within, ...command]
  const { status, stderr } = spawnSync(program, rest, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
}

/** What is not there need not be taken away. */
function tryTo(within: readonly string[], ...command: string[]): void {
  const [program = '', ...rest] = [...within, ...command]
  spawnSync(program, rest, { stdio: 'ignore' })
}

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()

function namespaceOf(pid: number | 'self'): string {
  return readlinkSync(`/proc/${pid}/ns/net`)
}
