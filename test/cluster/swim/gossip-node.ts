// Gossip on real sockets of the loopback, for tests: short intervals, every event and log line kept.

import type { Address } from '../../../cluster/swim/core/address.ts'
import type { MemberEvent } from '../../../cluster/swim/core/events.ts'
import type { Frame } from '../../../cluster/swim/core/messages.ts'
import { defaultSwimSettings, type SwimSettings } from '../../../cluster/swim/core/settings.ts'
import { Gossip, type GossipOptions, type SeedAddress } from '../../../cluster/swim/driver.ts'
import { Keyring } from '../../../cluster/swim/wire/keyring.ts'
import { type Envelope, packetBudget } from '../../../cluster/swim/wire/packet.ts'
import { systemEnv } from '../../../runtime/driver.ts'

interface LogLine {
  readonly level: string
  readonly event: string
  readonly fields: Record<string, string | number>
}

export interface TestGossip {
  readonly gossip: Gossip
  readonly events: MemberEvent[]
  readonly frames: Frame[]
  readonly logs: LogLine[]
  readonly namesInUse: string[]
  readonly epochs: number[]
  /** As a seed for others. */
  readonly seed: SeedAddress
  /** Names of the live members, sorted. */
  live(): string[]
}

export interface TestGossipOptions
  extends Partial<Pick<GossipOptions, 'epoch' | 'seeds' | 'resolve' | 'clusterId' | 'env'>> {
  readonly key?: Uint8Array
  readonly label?: string
  readonly envelope?: Partial<Envelope>
  readonly settings?: Partial<SwimSettings>
  readonly tags?: Record<string, string>
  readonly bind?: { host: string; port: number }
  /** Default: the bound host. */
  readonly advertise?: string
  /** Hears of members beside `events`. */
  readonly member?: (gossip: Gossip, event: MemberEvent) => unknown
}

const PACKET_BYTES = 1400
/** Quick enough for a test, and slow enough for a busy machine. */
const QUICK: Partial<SwimSettings> = {
  gossipIntervalMs: 50,
  probeIntervalMs: 200,
  probeTimeoutMs: 100,
  pushPullIntervalMs: 1000,
  reconnectIntervalMs: 500,
  suspicionMaxMult: 2,
}

export async function openGossip(name: string, options: TestGossipOptions = {}): Promise<TestGossip> {
  const envelope: Envelope = {
    label: Buffer.from(options.label ?? ''),
    ...(options.key === undefined ? {} : { keyring: new Keyring(options.key) }),
    encryptionVersion: 1,
    verifyIncoming: true,
    verifyOutgoing: true,
    compression: true,
    ...options.envelope,
  }
  const events: MemberEvent[] = []
  const frames: Frame[] = []
  const logs: LogLine[] = []
  const namesInUse: string[] = []
  const epochs: number[] = []
  const bind = options.bind ?? { host: '127.0.0.1', port: 0 }
  const gossip: Gossip = await Gossip.open({
    name,
    clusterId: options.clusterId ?? 'test',
    epoch: options.epoch ?? 1,
    tags: new Map(Object.entries({ role: 'moonmesh', ...options.tags })),
    bind,
    advertise: { host: options.advertise ?? bind.host },
    seeds: options.seeds ?? [],
    settings: {
      ...defaultSwimSettings,
      packetBudgetBytes: packetBudget(PACKET_BYTES, envelope),
      ...QUICK,
      ...options.settings,
    },
    envelope,
    handlers: {
      member: (event) => {
        events.push(event)
        options.member?.(gossip, event)
      },
      frames: (received) => frames.push(...received),
      exchangeFrames: () => [],
      nameInUse: (address) => namesInUse.push(address),
      epochRaised: (epoch) => epochs.push(epoch),
      log: (level, event, fields) => logs.push({ level, event, fields }),
    },
    env: options.env ?? systemEnv,
    ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
  })
  const { host, port }: Address = gossip.boundAddress
  const live = (): string[] =>
    gossip
      .members()
      .filter(({ state }) => state === 'alive' || state === 'suspect')
      .map((member) => member.name)
  return { gossip, events, frames, logs, namesInUse, epochs, seed: { host, port }, live }
}
