// Who has a port that this node wants: on Linux the kernel says, to whoever may see the owner's files.

import { readdir, readFile, readlink } from 'node:fs/promises'

const PROCESSES_MAX = 4096
const LISTENING = '0A'

/** `nginx (process 123)`; undefined when it cannot be found out. */
export async function portOwner(protocol: 'TCP' | 'UDP', port: number): Promise<string | undefined> {
  try {
    const inodes = await inodesOf(protocol, port)
    if (inodes.size === 0) return undefined
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_MAX)
    for (const pid of pids) {
      if (!(await hasOneOf(pid, inodes))) continue
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
      return `${name} (process ${pid})`
    }
  } catch {
    // Another system, or a process that ended meanwhile: the answer is only a help.
  }
  return undefined
}

async function inodesOf(protocol: 'TCP' | 'UDP', port: number): Promise<Set<string>> {
  const inodes = new Set<string>()
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const family of ['', '6']) {
    const table = await readFile(`/proc/net/${protocol.toLowerCase()}${family}`, 'utf8').catch(() => '')
    for (const line of table.split('\n')) {
      // Number, local address, remote address, state, … and the inode as the tenth column.
      const columns = line.trim().split(/\s+/)
      const isOwner = columns[1]?.endsWith(wanted) === true && (protocol === 'UDP' || columns[3] === LISTENING)
      if (isOwner && columns[9] !== undefined) inodes.add(`socket:[${columns[9]}]`)
    }
  }
  return inodes
}

async function hasOneOf(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  // Files of other users cannot be seen.
  const files = await readdir(`/proc/${pid}/fd`).catch(() => [])
  for (const file of files) {
    const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')
    if (inodes.has(target)) return true
  }
  return false
}
