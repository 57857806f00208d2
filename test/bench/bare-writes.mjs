// The floor of W8: what two writes after each other take three bare programs of Node.js, each on two disks of three before the next begins.
// There is a file, a socket and a sync in them, and no log, no election and no lock: who builds on Node.js is not faster than this.
// usage: node bare-writes.mjs      BENCH_TMP=DIR (a real disk)

import { spawn } from 'node:child_process'
import { fdatasync, mkdtempSync, openSync, rmSync, write } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CYCLES = 2000
const RECORD = Buffer.alloc(200)
const ACKNOWLEDGEMENT_BYTES = 16

const dir = mkdtempSync(join(process.env.BENCH_TMP ?? tmpdir(), 'moonmesh-bench-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const file = openSync(join(dir, 'log'), 'a')
const failing = (next) => (error) => {
  if (error) throw error
  next()
}
const append = (done) =>
  write(
    file,
    RECORD,
    failing(() => fdatasync(file, failing(done))),
  )

function follow(port) {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  let bytes = 0
  let records = 0
  socket.on('data', (data) => {
    bytes += data.length
    const count = Math.floor(bytes / RECORD.length) - records
    records += count
    // Those that came together share a sync.
    if (count > 0) append(() => socket.write(Buffer.alloc(count * ACKNOWLEDGEMENT_BYTES)))
  })
  socket.on('close', () => process.exit(0))
}

function followers(count) {
  return new Promise((resolve) => {
    const sockets = []
    const server = createServer((socket) => {
      sockets.push(socket.setNoDelay(true))
      if (sockets.length === count) resolve(sockets)
    }).listen(0, '127.0.0.1', () => {
      for (let i = 0; i < count; i++) {
        const child = spawn(process.execPath, [fileURLToPath(import.meta.url), String(server.address().port)], {
          stdio: 'inherit',
        })
        process.on('exit', () => child.kill('SIGTERM'))
      }
    })
  })
}

async function lead() {
  const sockets = await followers(2)
  let written = 0
  /** Of each follower: one may be behind the other. */
  const acknowledged = [0, 0]
  let isOwnDone = false
  let resume = () => {}
  const look = () => {
    if (isOwnDone && Math.max(...acknowledged) >= written) resume()
  }
  for (const [i, socket] of sockets.entries()) {
    socket.on('data', (data) => {
      acknowledged[i] += data.length / ACKNOWLEDGEMENT_BYTES
      look()
    })
  }
  const writeOnce = () =>
    new Promise((resolve) => {
      resume = resolve
      written++
      isOwnDone = false
      for (const socket of sockets) socket.write(RECORD)
      append(() => {
        isOwnDone = true
        look()
      })
    })
  const times = []
  const cycles = async (count) => {
    for (let i = 0; i < count; i++) {
      const beganMs = performance.now()
      await writeOnce()
      await writeOnce()
      times.push(performance.now() - beganMs)
    }
  }
  await cycles(CYCLES / 10)
  times.length = 0
  const beganMs = performance.now()
  await cycles(CYCLES)
  const seconds = (performance.now() - beganMs) / 1000
  times.sort((a, b) => a - b)
  const peer = `floor/node-${process.versions.node.split('.')[0]}-three-programs`
  for (const [metric, value, unit] of [
    ['cycles', CYCLES / seconds, '1/s'],
    ['cycle_p50', times[CYCLES / 2], 'ms'],
  ]) {
    const figure = { workload: 'W8', peer, metric, value: Number(value.toPrecision(6)), unit, n: CYCLES }
    process.stdout.write(`${JSON.stringify(figure)}\n`)
  }
  process.exit(0)
}

const [port] = process.argv.slice(2)
if (port === undefined) await lead()
else follow(Number(port))
