// A few servers with their real driver of consensus in one program, on a clock that the test moves and on disks that it breaks.

import { expect } from 'vitest'
import { configurationOf } from '../../cluster/raft/core/membership.ts'
import { RAFT_DEFAULTS, type RaftOptions } from '../../cluster/raft/core/raft.ts'
import { RaftDriver } from '../../cluster/raft/driver.ts'
import { Store } from '../../cluster/raft/store.ts'
import { StateHost } from '../../cluster/state/host.ts'
import { encodeEnvelope } from '../../cluster/state/wire/commands.ts'
import { MemoryStorage } from '../../cluster/storage/memory.ts'
import { MemoryFiles } from '../../cluster/storage/memory-files.ts'
import type { SyncReport } from '../../cluster/storage/storage.ts'
import { FabricNet } from './fabric.ts'

export const FORMATION = '000102030405060708090a0b0c0d0e0f'
export const SETTINGS = Uint8Array.of(0x80)
export const SETTLED_MS = 4000

/** Files that cannot be written when they are told so. */
class FragileFiles extends MemoryFiles {
  isFailing = false

  override async open(...given: Parameters<MemoryFiles['open']>): ReturnType<MemoryFiles['open']> {
    if (this.isFailing && given[1] === 'create') throw new Error('the disk is full')
    return super.open(...given)
  }
}

/** A disk that outlives whoever uses it, and fails when it is told to. */
export class Disk {
  readonly files = new FragileFiles()
  readonly rows = new MemoryStorage()
  isFailing = false
  isWipeFailing = false
  /** Of every sync; undefined: nobody measures. */
  syncMs: number | undefined
  wipes = 0
  opens = 0

  open(onSync: (report: SyncReport) => void = () => {}): Promise<Store> {
    const { rows } = this
    this.opens++
    const write = async (operations: Parameters<MemoryStorage['write']>[0]): Promise<void> => {
      if (this.isFailing) throw new Error('the disk is full')
      await rows.write(operations)
      if (this.syncMs !== undefined)
        onSync({ durationMs: this.syncMs, operationCount: operations.length, sizeBytes: 0 })
    }
    const storage = {
      get: (key: Uint8Array) => rows.get(key),
      write,
      rows: (range: Parameters<MemoryStorage['rows']>[0]) => rows.rows(range),
      keys: (range: Parameters<MemoryStorage['keys']>[0]) => rows.keys(range),
      failure: undefined,
      waitingBytes: 0,
      close: async () => {},
    }
    return Store.open({
      path: '/raft',
      retain: 2,
      files: this.files,
      openStorage: async () => storage,
      wallMs: () => 1,
    })
  }
}

export class DriverGroup {
  readonly net = new FabricNet()
  readonly drivers = new Map<string, RaftDriver>()
  readonly disks = new Map<string, Disk>()
  readonly hosts = new Map<string, StateHost>()

  async start(name: string, options: Partial<RaftOptions> = {}): Promise<RaftDriver> {
    const { net } = this
    const disk = this.disks.get(name) ?? new Disk()
    this.disks.set(name, disk)
    const defer = (run: () => void): void => {
      net.after(0, run)
    }
    const failed = (error: unknown): void => {
      throw error
    }
    const host = new StateHost({ nowMs: () => net.env.nowMs(), defer, failed })
    const fabric = net.nodes.get(name) ?? net.join(name)
    const driver = await RaftDriver.open({
      fabric,
      state: host,
      raft: { ...RAFT_DEFAULTS, heartbeatTimeoutMs: 300, electionTimeoutMs: 300, commitTimeoutMs: 50, ...options },
      isEligible: true,
      openStore: (onSync) => disk.open(onSync),
      wipeStore: async () => {
        if (disk.isWipeFailing) throw new Error('it cannot be wiped')
        disk.wipes++
        this.disks.set(name, Object.assign(disk, { files: new FragileFiles(), rows: new MemoryStorage() }))
      },
      onPause: () => () => {},
      defer,
      soon: defer,
    })
    this.drivers.set(name, driver)
    this.hosts.set(name, host)
    return driver
  }

  async form(names: readonly string[], options: Partial<RaftOptions> = {}): Promise<RaftDriver> {
    const drivers = []
    for (const name of names) drivers.push(await this.start(name, options))
    const configuration = configurationOf(drivers.map(({ self }) => self))
    for (const driver of drivers) await driver.form(FORMATION, configuration, SETTINGS)
    await this.net.advance(SETTLED_MS)
    return this.leader()
  }

  leader(): RaftDriver {
    const leader = [...this.drivers.values()].find((driver) => driver.status().isReady)
    if (leader === undefined) throw new Error('there is no leader')
    return leader
  }

  followers(): RaftDriver[] {
    return [...this.drivers.values()].filter((driver) => driver.status().role !== 'leader')
  }

  /** The result of what takes its time on the clock of the group. */
  async settled<T>(promise: Promise<T>, withinMs = SETTLED_MS): Promise<T> {
    let isOver = false
    const over = (): void => {
      isOver = true
    }
    promise.then(over, over)
    for (let ms = 0; ms < withinMs && !isOver; ms += 10) await this.net.advance(10)
    expect(isOver).toBe(true)
    return promise
  }

  up(node: string, epoch = 1): Uint8Array {
    return encodeEnvelope({ session: 0, seq: 0, floor: 0, command: { kind: 'node-up', node, epoch, role: 'server' } })
  }

  digests(): string[] {
    return [...this.drivers.values()].map(({ machine }) => `${machine.index} ${machine.digest()}`)
  }
}
