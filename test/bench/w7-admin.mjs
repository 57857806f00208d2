// The load of W7 over the admin interface, in a process of its own: 64 kept-alive connections to the leader's Unix socket.
// usage: node w7-admin.mjs SOCKET STORE

import { Agent, request } from 'node:http'
import { bench } from './w7-load.mjs'

const [socketPath, store] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** @returns the body of the answer, parsed; rejects when the status is not 200 */
function call(method, key, body) {
  return new Promise((resolve, reject) => {
    const path = `/v1/kv/${encodeURIComponent(store)}/${encodeURIComponent(key)}`
    const headers =
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request({ socketPath, path, method, agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text))
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

await bench({
  peer: 'moonmesh',
  prefix: 'admin_',
  write: (key, value) => call('PUT', key, JSON.stringify(value.toString())),
  read: (key) => call('GET', key),
})
agent.destroy()
