// Does to the cluster what the plan says, and undoes it.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ask } from '../../runtime/cli/client.ts'
import type { Chance } from './chance.ts'
import { type Cluster, GOSSIP_PORT, MESH_PORT } from './cluster.ts'
import type { History, Window } from './history.ts'
import type { Network } from './network.ts'
import type { ChaosNode } from './node.ts'
import { DESTRUCTIVE, describe, type Fault, type Step, type Target } from './plan.ts'
import { wait } from './workload.ts'

const STOP_MS_MAX = 25_000
const WHOLE_MS_MAX = 60_000
/** A node that is started says within this time that it is ready, or why not. */
const START_MS_MAX = 45_000

interface Begun {
  readonly nodes: readonly number[]
  readonly undo: () => Promise<void> | void
  /** What became of it, where that is of interest. */
  readonly note?: string
}

interface NemesisOptions {
  readonly cluster: Cluster
  readonly network: Network
  readonly history: History
  readonly chance: Chance
  readonly dir: string
  readonly say: (text: string) => void
  /** So many times as long as usual may a node take. */
  readonly patience: number
}

export class Nemesis {
  readonly #options: NemesisOptions
  /** How many faults block the way from one node to another. */
  readonly #blocks = new Map<string, number>()
  /** How many faults keep a node from running. */
  readonly #down = new Map<number, number>()
  readonly #stopped = new Map<number, number>()

  constructor(options: NemesisOptions) {
    this.#options = options
  }

  async perform(step: Step): Promise<void> {
    const { history, say, cluster } = this.#options
    await wait(step.afterMs)
    if (step.faults.some(({ kind }) => DESTRUCTIVE.has(kind))) {
      const missing = await cluster.whole(this.#options.patience * WHOLE_MS_MAX)
      if (missing.length > 0) {
        history.notes.push(
          `left out, since something was missing: ${step.faults.map(describe).join(', ')}: ${missing.join('; ')}`,
        )
        return
      }
    }
    const begun: { window: Window; undo: Begun['undo'] }[] = []
    for (const fault of step.faults) {
      say(describe(fault))
      const fromMs = performance.now()
      // It is in the history before it begins: what it does is seen at once.
      const window: { -readonly [K in keyof Window]: Window[K] } = {
        fault,
        text: describe(fault),
        nodes: this.#all,
        fromMs,
        toMs: Number.POSITIVE_INFINITY,
      }
      history.windows.push(window)
      const { nodes, undo, note } = await this.#begin(fault)
      window.nodes = nodes
      if (note !== undefined) window.text += ` (${note})`
      begun.push({ window, undo })
    }
    await wait(step.lastsMs)
    for (const { window, undo } of begun.reverse()) {
      await undo()
      window.toMs = performance.now()
    }
  }

  get #all(): readonly number[] {
    return this.#nodes.map(({ index }) => index)
  }

  get #nodes(): readonly ChaosNode[] {
    return this.#options.cluster.nodes
  }

  #node(index: number): ChaosNode {
    return this.#nodes[index] as ChaosNode
  }

  async #target(who: Target): Promise<ChaosNode> {
    const { cluster, history, chance } = this.#options
    // Drawn in any case: what is known only at run time changes nothing for the next ones.
    const otherwise = chance.int(this.#nodes.length)
    if (typeof who === 'number') return this.#node(who)
    const found =
      who === 'leader'
        ? await Promise.race([cluster.leader(), wait(3000).then(() => undefined)])
        : history.remarks.findLast(({ ev, name }) => ev === 'held' && name === 'keep')?.node
    return this.#node(found ?? otherwise)
  }

  async #begin(fault: Fault): Promise<Begun> {
    switch (fault.kind) {
      case 'kill':
        return this.#kill(await this.#target(fault.who), false)
      case 'power':
        return this.#kill(await this.#target(fault.who), true)
      case 'kill-all':
      case 'power-all': {
        const begun = await Promise.all(this.#nodes.map((node) => this.#kill(node, fault.kind === 'power-all')))
        return { nodes: this.#all, undo: () => together(begun) }
      }
      case 'stop':
        return this.#stop(await this.#target(fault.who))
      case 'rolling-restart':
        return { ...(await this.#rollingRestart()), nodes: this.#all }
      case 'move':
        return this.#move(await this.#target(fault.who))
      case 'halves':
        return this.#cut(fault.left, this.#others(fault.left))
      case 'isolate': {
        const { index } = await this.#target(fault.who)
        return this.#cut([index], this.#others([index]))
      }
      case 'deaf': {
        const { index } = await this.#target(fault.who)
        return { nodes: [index], undo: this.#block(this.#others([index]).map((from) => [from, index])) }
      }
      case 'mute': {
        const { index } = await this.#target(fault.who)
        return { nodes: [index], undo: this.#block(this.#others([index]).map((to) => [index, to])) }
      }
      case 'bridge':
        return this.#cut(fault.left, this.#others([...fault.left, fault.over]))
      case 'pair':
        return this.#cut([fault.one], [fault.other])
      case 'flicker':
        return this.#flicker(await this.#target(fault.who))
      case 'slow-link': {
        const { index } = await this.#target(fault.who)
        this.#options.network.slow(index, fault.kbit)
        return { nodes: [index], undo: () => this.#options.network.slow(index, undefined) }
      }
      case 'loss':
        for (const index of this.#all) this.#options.network.lose(index, fault.share)
        return {
          nodes: this.#all,
          undo: () => {
            for (const index of this.#all) this.#options.network.lose(index, undefined)
          },
        }
      case 'full-disk': {
        const node = await this.#target(fault.who)
        node.options.disk.fill()
        return { nodes: [node.index], undo: () => node.options.disk.free() }
      }
      case 'slow-disk': {
        const { index } = await this.#target(fault.who)
        const file = this.#options.cluster.delayFile(index)
        writeFileSync(file, String(fault.syncMs))
        return { nodes: [index], undo: () => rmSync(file, { force: true }) }
      }
      case 'corrupt':
        return this.#corrupt(await this.#target(fault.who))
      case 'rollback':
        return this.#rollback(await this.#target(fault.who))
      case 'wipe': {
        const node = await this.#target(fault.who)
        const { undo } = await this.#kill(node, false)
        node.options.disk.wipe()
        return { nodes: [node.index], undo }
      }
      case 'clock': {
        const file = this.#options.cluster.clockFile(fault.who)
        writeFileSync(file, `${fault.bySeconds > 0 ? '+' : ''}${fault.bySeconds}\n`)
        return { nodes: [fault.who], undo: () => writeFileSync(file, '+0\n') }
      }
      case 'rotate-key':
        return { nodes: [], ...(await this.#rotateKey()) }
      case 'rotate-certificates':
        if (!existsSync(join(this.#options.dir, 'certs/ca.pem')))
          return { nodes: [], undo: () => {}, note: 'there are none' }
        this.#options.cluster.issueCertificates()
        this.#hangUp()
        return { nodes: [], undo: () => {} }
      case 'transfer': {
        const leader = await this.#target('leader')
        const order = { body: {}, timeoutMs: 5000 }
        const told = await ask<{ leader: string }>(leader.socket, '/v1/cluster/transfer', order).catch(
          (error: Error) => error.message,
        )
        return { nodes: [], undo: () => {}, note: typeof told === 'string' ? told : `to ${told.leader}` }
      }
      case 'garbage':
        return this.#garbage(await this.#target(fault.who))
      case 'intruder':
        return this.#intruder(fault.how)
    }
  }

  #others(left: readonly number[]): number[] {
    return this.#all.filter((index) => !left.includes(index))
  }

  async #kill(node: ChaosNode, isPower: boolean): Promise<Begun> {
    const { index } = node
    const isFirst = count(this.#down, index, 1) === 1
    // One that stands still dies as well.
    if (isFirst) await node.kill()
    const lost = isPower ? node.options.disk.losePower() : undefined
    return {
      nodes: [index],
      undo: () => {
        if (count(this.#down, index, -1) === 0) node.start()
      },
      ...(lost === undefined ? {} : { note: `${lost} bytes lost` }),
    }
  }

  #stop(node: ChaosNode): Begun {
    const { index } = node
    count(this.#stopped, index, 1)
    node.signal('SIGSTOP')
    const { run } = node
    return {
      nodes: [index],
      undo: () => {
        if (count(this.#stopped, index, -1) === 0 && node.run === run) node.signal('SIGCONT')
      },
    }
  }

  async #rollingRestart(): Promise<{ undo: () => void; note: string }> {
    const { history } = this.#options
    for (const node of this.#nodes) {
      if (!node.isUp || (this.#down.get(node.index) ?? 0) > 0) continue
      if (!(await node.stop(this.#options.patience * STOP_MS_MAX)))
        history.violations.push(
          `${node.name} did not stop within ${this.#options.patience * STOP_MS_MAX} ms of SIGTERM`,
        )
      node.start()
      await Promise.race([node.ready(), wait(this.#options.patience * START_MS_MAX)])
      await wait(2000)
    }
    return { undo: () => {}, note: 'done' }
  }

  async #move(node: ChaosNode): Promise<Begun> {
    const { undo } = await this.#kill(node, false)
    this.#options.network.move(node.index)
    return { nodes: [node.index], undo, note: `to ${this.#options.network.address(node.index)}` }
  }

  #cut(left: readonly number[], right: readonly number[]): Begun {
    const ways = left.flatMap((one) => right.flatMap((other) => [[one, other] as const, [other, one] as const]))
    return { nodes: [...left, ...right], undo: this.#block(ways) }
  }

  #block(ways: readonly (readonly [number, number])[]): () => void {
    const { network } = this.#options
    for (const [from, to] of ways) if (count(this.#blocks, `${from} ${to}`, 1) === 1) network.block(from, to)
    return () => {
      for (const [from, to] of ways) if (count(this.#blocks, `${from} ${to}`, -1) === 0) network.unblock(from, to)
    }
  }

  #flicker(node: ChaosNode): Begun {
    const { index } = node
    let isOver = false
    const ended = (async () => {
      while (!isOver) {
        const { undo } = this.#cut([index], this.#others([index]))
        await wait(300)
        await undo()
        await wait(700)
      }
    })()
    return {
      nodes: [index],
      undo: () => {
        isOver = true
        return ended
      },
    }
  }

  async #corrupt(node: ChaosNode): Promise<Begun> {
    const { chance } = this.#options
    const draws = [chance.fraction(), chance.fraction()] as const
    const killed = await this.#kill(node, false)
    const logs = node.options.disk.files().filter((path) => path.includes('/_sys/raft/') && path.endsWith('.log'))
    const path = logs
      .toSorted((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs)
      .findLast((each) => statSync(each).size > 200)
    if (path === undefined) return { ...killed, note: 'its log is empty' }
    const { size } = statSync(path)
    // At the very end, or somewhere on the way.
    const at = draws[0] < 0.5 ? size - 1 - Math.floor(draws[1] * 60) : Math.floor(draws[1] * size)
    const file = openSync(path, 'r+')
    const byte = Buffer.alloc(1)
    readSync(file, byte, 0, 1, at)
    writeSync(file, Buffer.from([(byte[0] as number) ^ 0x55]), 0, 1, at)
    closeSync(file)
    const undo = async (): Promise<void> => {
      await killed.undo()
      await this.#watchStart(node, `byte ${at} of ${size} changed`)
    }
    return { nodes: killed.nodes, undo, note: `byte ${at} of ${size}` }
  }

  async #rollback(node: ChaosNode): Promise<Begun> {
    const image = join(this.#options.dir, 'image')
    const first = await this.#kill(node, false)
    node.options.disk.save(image)
    await first.undo()
    const undo = async (): Promise<void> => {
      const second = await this.#kill(node, false)
      node.options.disk.restore(image)
      await second.undo()
      await this.#watchStart(node, 'an older disk')
    }
    return { nodes: [node.index], undo }
  }

  /** A node with a damaged store may refuse to start; then its operator makes it join anew. */
  async #watchStart(node: ChaosNode, what: string): Promise<void> {
    const { history, cluster } = this.#options
    node.expectEnd()
    const outcome = await Promise.race([
      node.ready().then(() => 'ready'),
      node.ended().then(() => 'ended'),
      wait(this.#options.patience * START_MS_MAX).then(() => 'neither ready nor over'),
    ])
    history.notes.push(`${node.name}, ${what}: ${outcome === 'ended' ? 'it refused to start' : outcome}`)
    if (outcome !== 'ended') return
    cluster.cli('cluster', 'reset-store', '--node', node.name, '--data-dir', node.options.disk.dir, '--yes')
    node.start()
  }

  async #rotateKey(): Promise<{ undo: () => void; note?: string }> {
    const { cluster } = this.#options
    if (!cluster.isKeyed) return { undo: () => {}, note: 'there is none' }
    const old = cluster.key
    const fresh = cluster.newKey()
    for (const keys of [[old, fresh], [fresh, old], [fresh]]) {
      cluster.writeKeys(keys)
      this.#hangUp()
      await wait(3000)
    }
    return { undo: () => {} }
  }

  #hangUp(): void {
    // One that has not set up its signals yet would end; it reads the files anyway.
    for (const node of this.#nodes) if (node.isReady) node.signal('SIGHUP')
  }

  #garbage(node: ChaosNode): Begun {
    const address = this.#options.network.address(node.index)
    const child = this.#outside(this.#nodes.length, GARBAGE, [address, String(GOSSIP_PORT), String(MESH_PORT)])
    return { nodes: [], undo: () => void child.kill('SIGKILL') }
  }

  async #intruder(how: 'name' | 'key' | 'certificate'): Promise<Begun> {
    const { cluster, history, chance } = this.#options
    const victim = chance.pick(cluster.nodes)
    const name = how === 'name' ? victim.name : 'intruder'
    const { main, args, within } = cluster.intruder(name, how)
    const [command = '', ...rest] = [...within, process.execPath, main, ...args]
    const child = spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const ended = new Promise<number | null>((done) => child.once('close', (code) => done(code)))
    const undo = async (): Promise<void> => {
      const code = child.exitCode
      child.kill('SIGKILL')
      await ended
      if (how === 'name') {
        history.notes.push(`another ${name} ended with exit code ${code}: ${said.trim().split('\n').at(-1) ?? ''}`)
      } else if (said.includes('"node_joined"')) {
        history.notes.push(`an intruder with a wrong ${how} heard of nodes`)
      }
    }
    return { nodes: how === 'name' ? [victim.index] : [], undo, ...(how === 'name' ? { note: name } : {}) }
  }

  /** Runs a piece of JavaScript in the namespace of nobody. */
  #outside(index: number, script: string, args: readonly string[]): ChildProcess {
    const [command = '', ...rest] = [...this.#options.network.within(index), process.execPath, '-e', script, ...args]
    return spawn(command, rest, { stdio: 'ignore' })
  }
}

const GARBAGE = `
const [address, ...ports] = process.argv.slice(1)
const { connect } = require('node:net'), { randomBytes } = require('node:crypto')
const udp = require('node:dgram').createSocket('udp4')
setInterval(() => {
  for (const port of ports) {
    const socket = connect({ host: address, port: Number(port) }).on('error', () => {})
    socket.write(randomBytes(Math.random() < 0.1 ? 100000 : 300))
    setTimeout(() => socket.destroy(), 2000)
  }
  udp.send(randomBytes(1 + Math.floor(Math.random() * 1300)), Number(ports[0]), address, () => {})
}, 20)
`

function count<K>(counts: Map<K, number>, key: K, by: number): number {
  const value = (counts.get(key) ?? 0) + by
  counts.set(key, value)
  return value
}

async function together(begun: readonly Begun[]): Promise<void> {
  for (const { undo } of begun) await undo()
}
