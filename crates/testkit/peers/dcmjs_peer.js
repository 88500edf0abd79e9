// SPDX-License-Identifier: MIT OR Apache-2.0
// dcmjs-dimse as SCU and SCP, as the project's own examples have it.
//
//   node dcmjs_peer.js echo PORT
//   node dcmjs_peer.js send PORT FILE...
//   node dcmjs_peer.js receive PORT FOLDER [MAX_PDU]
//
// The sender ends with 1 when a request was not answered with Success. The receiver writes the bytes of each data set.
const fs = require('fs');
const path = require('path');
const dimse = require('dcmjs-dimse');
const { Client, Scp, Server } = dimse;
const { CEchoRequest, CStoreRequest } = dimse.requests;
const { CEchoResponse, CStoreResponse } = dimse.responses;
const { PresentationContextResult, Status } = dimse.constants;

dimse.log.setLevel('warn');
const [role, port, ...rest] = process.argv.slice(2);

function request(requests) {
  const client = new Client();
  let successes = 0;
  for (const one of requests) {
    one.on('response', (response) => {
      successes += response.getStatus() === Status.Success ? 1 : 0;
    });
    client.addRequest(one);
  }
  let failed = false;
  const fail = (what) => (why) => {
    failed = true;
    console.error(what, why);
  };
  client.on('networkError', fail('network error'));
  client.on('associationRejected', fail('rejected'));
  client.on('abort', fail('aborted'));
  client.on('closed', () => process.exit(failed || successes < requests.length ? 1 : 0));
  client.send('127.0.0.1', Number(port), 'DCMJS', 'OURS');
}

class Receiver extends Scp {
  associationRequested(association) {
    this.association = association;
    if (rest[1]) {
      association.setMaxPduLength(Number(rest[1]));
    }
    for (const { id } of association.getPresentationContexts()) {
      const context = association.getPresentationContext(id);
      context.setResult(PresentationContextResult.Accept, context.getTransferSyntaxUids()[0]);
    }
    this.sendAssociationAccept();
  }

  cEchoRequest(request, callback) {
    const response = CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  }

  cStoreRequest(request, callback) {
    const file = path.join(rest[0], request.getAffectedSopInstanceUid() + '.dcm');
    fs.writeFileSync(file, request.getDataset().getDenaturalizedDataset());
    const response = CStoreResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

if (role === 'echo') {
  request([new CEchoRequest()]);
} else if (role === 'send') {
  request(rest.map((file) => new CStoreRequest(file)));
} else {
  const server = new Server(Receiver);
  server.on('networkError', (why) => console.error('network error', why));
  server.listen(Number(port));
}
