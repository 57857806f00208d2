// Loaded into a node before it starts (`node --import`): ends it, without a word, at one step of founding its group. The steps are told by what is
// about to be written into META, or was just written.
//   KILL_AT='before promise'   before | after, promise | decision | formed

import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [when, what] = (process.env.KILL_AT ?? '').split(' ')

/** What a file of META says: that a promise was given, that the group is decided, that the promise is done with. */
function stepOf(path) {
  const text = fs.readFileSync(path, 'utf8')
  const { promise, formation } = JSON.parse(text.slice(0, text.lastIndexOf('}') + 1))
  if (promise !== undefined) return formation === undefined ? 'promise' : 'decision'
  return formation === undefined ? 'none' : 'formed'
}

const rename = fs.promises.rename
fs.promises.rename = async (from, to) => {
  const isIt = String(to).endsWith('/_sys/raft/META') && stepOf(from) === what
  if (isIt && when === 'before') process.kill(process.pid, 'SIGKILL')
  await rename(from, to)
  if (isIt && when === 'after') process.kill(process.pid, 'SIGKILL')
}
syncBuiltinESMExports()
