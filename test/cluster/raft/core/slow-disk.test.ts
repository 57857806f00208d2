import { describe, expect, test } from 'vitest'
import { isSlowSync, SlowDisk, type VoterDisk } from '../../../../cluster/raft/core/slow-disk.ts'

const HEARTBEAT_MS = 3000

const voter = (server: string, syncMs: number, rest: Partial<VoterDisk> = {}): VoterDisk => {
  return { server, syncMs, silentMs: 100, isSynced: true, ...rest }
}

/** Looks every second for so long. @returns second and successor of the first decision */
function watch(disk: SlowDisk, seconds: number, at: (second: number) => [number, VoterDisk[]]): string {
  for (let second = 0; second <= seconds; second++) {
    const [syncMs, voters] = at(second)
    const successor = disk.look(syncMs, voters, { nowMs: second * 1000, heartbeatTimeoutMs: HEARTBEAT_MS })
    if (successor !== undefined) return `${second} ${successor}`
  }
  return 'stays'
}

describe('a leader with a slow disk (cluster.md §5.6)', () => {
  test('leaves after ten seconds, to the fastest', () => {
    expect(watch(new SlowDisk(), 60, () => [1001, [voter('b', 90), voter('c', 2)]])).toBe('10 c')
  })

  test('stays while its syncs take a third of heartbeat_timeout or less', () => {
    expect(isSlowSync(1000, HEARTBEAT_MS)).toBe(false)
    expect(watch(new SlowDisk(), 60, () => [1000, [voter('b', 1)]])).toBe('stays')
  })

  test('stays while nobody tells of less than a tenth', () => {
    expect(watch(new SlowDisk(), 60, () => [2000, [voter('b', 200), voter('c', 900)]])).toBe('stays')
    expect(watch(new SlowDisk(), 60, () => [2000, []])).toBe('stays')
    expect(watch(new SlowDisk(), 60, () => [2000, [voter('b', 199)]])).toBe('10 b')
  })

  test('takes no word for a fast disk', () => {
    expect(watch(new SlowDisk(), 60, () => [2000, [voter('b', 0)]])).toBe('stays')
  })

  test('does not count who is silent', () => {
    const silent = voter('b', 1, { silentMs: HEARTBEAT_MS })
    expect(watch(new SlowDisk(), 60, () => [2000, [silent]])).toBe('stays')
  })

  test('begins to count anew when its disk was fast in between', () => {
    expect(watch(new SlowDisk(), 60, (second) => [second % 9 === 8 ? 500 : 2000, [voter('b', 1)]])).toBe('stays')
    const disk = new SlowDisk()
    expect(watch(disk, 9, () => [2000, [voter('b', 1)]])).toBe('stays')
    expect(disk.isSuspected).toBe(true)
    disk.forget()
    expect(disk.isSuspected).toBe(false)
  })

  test('waits for a fast voter to have the log', () => {
    const at = (second: number): [number, VoterDisk[]] => [2000, [voter('b', 1, { isSynced: second >= 15 })]]
    expect(watch(new SlowDisk(), 60, at)).toBe('15 b')
  })
})
