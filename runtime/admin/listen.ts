// Opening a listener, with errors that say which setting to change.

import type { Server } from 'node:http'
import { codeOf, MoonmeshError, messageOf } from '../base/errors.ts'
import type { Address } from './address.ts'

export function listen(server: Server, address: Address): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(address, () => {
      server.off('error', fail)
      done()
    })
  })
}

/** @param setting the one that says where to listen; @param remedy what to change it to */
export function explained(error: unknown, given: string, setting: string, remedy: string): MoonmeshError {
  const options = { retryable: false, cause: error }
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return new MoonmeshError('Unavailable', `${setting} ${given} is in use by another program; ${remedy}`, options)
    case 'EACCES':
      return new MoonmeshError('PermissionDenied', `no permission to listen on ${setting} ${given}; ${remedy}`, options)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new MoonmeshError('Invalid', `${setting} ${given} is not an address of this machine; ${remedy}`, options)
    default:
      return new MoonmeshError('Unavailable', `cannot listen on ${setting} ${given}: ${messageOf(error)}`, options)
  }
}
